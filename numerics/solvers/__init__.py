"""Solvers: codes that minimise the output error of a layer, and the linear algebra for them."""
