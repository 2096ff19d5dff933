"""Is it real hardware? Processing elements made from the format objects."""
