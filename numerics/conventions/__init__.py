"""Schemes with the exact arithmetic of one library or paper, where libraries disagree."""
