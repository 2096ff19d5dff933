"""PE family: exponent-aligned sums of BitMoD's values, which are truncated."""
