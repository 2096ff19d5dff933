"""Structures: what a tensor is split into before and beside its codes."""
