"""Mixtures: several candidate formats, one of which is chosen for each group, row or tensor."""
