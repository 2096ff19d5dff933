"""PE family: BitMoD's exponent-aligned dot products, with truncation."""
