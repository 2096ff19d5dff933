"""Processing elements, one folder a family: circuit, element and layer."""
