"""Quantization methods: chains of steps that turn a float model into codes."""
