"""Schemes as one library or paper computes them, where libraries disagree."""
