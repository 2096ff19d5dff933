"""PE family: lookup tables of partial sums."""
