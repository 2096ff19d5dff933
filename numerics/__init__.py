"""What is the number? Formats, rounding, scales, groups, packing and exact dot products."""
