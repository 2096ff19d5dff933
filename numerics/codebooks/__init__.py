"""Codebooks: vectors of weights as indices into tables, fixed ones and ones made to measure."""
