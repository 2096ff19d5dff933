"""PE family: dequantizer behind an aligned sum."""
