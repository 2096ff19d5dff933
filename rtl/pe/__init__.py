"""Processing elements, one folder per family: circuit, element and layer."""
