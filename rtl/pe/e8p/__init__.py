"""PE family: E8P lattice codebook."""
