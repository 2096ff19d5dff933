"""Schemes and quantized tensors: element format, granularity, scale rule and storage."""
