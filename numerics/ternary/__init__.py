"""Ternary and binary weights: TWN, BitNet b1.58, FBI-LLM, and the packings of bitnet.cpp."""
