"""Readers of quantized checkpoints: one module for each layout of a quantized linear layer."""
