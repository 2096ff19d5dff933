"""Calibration: what the linear layers of a model read on some text, one block at a time."""
