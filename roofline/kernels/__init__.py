"""Speed of an engine's kernels: operand types, inner loops, tiles and share of the peak."""
