"""PE family: weights with zero points."""
