"""Blocks of GGUF files: their bytes, their values, and the quantizers of the simple types."""
