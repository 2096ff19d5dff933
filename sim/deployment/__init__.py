"""Deployment planning: speed, memory, energy and cost of a model on a machine, for the terminal."""
