"""PE family: weights in bit planes, added serially."""
