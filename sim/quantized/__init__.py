"""Packed checkpoints: a model's weights as the codes and scales of their schemes."""
