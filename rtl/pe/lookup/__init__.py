"""PE family: ternary weights by look-up in tables of partial sums (TL1, TL2)."""
