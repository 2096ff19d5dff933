"""A linear layer through a tile of PEs: codes in, sums out."""
