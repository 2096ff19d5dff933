"""Accelerators: cycles, energy and area of models on arrays of PEs."""
