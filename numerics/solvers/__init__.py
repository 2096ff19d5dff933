"""Solvers: codes that minimise a layer's output error, and the linear algebra that they need."""
