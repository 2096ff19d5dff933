"""Accuracy sweeps: recipes, windows of text, metrics, the results store and the engine."""
