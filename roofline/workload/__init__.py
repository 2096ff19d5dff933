"""Operators of a step, with their operations and bytes."""
