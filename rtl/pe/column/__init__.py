"""PE family: BitMoD's exponent-aligned PE followed by its dequantizer."""
