"""Mixtures: several formats, and a rule that picks one of them for each group."""
