"""Structures: sparsity, outliers, low-rank parts and nested codes of a quantized tensor."""
