"""Calibration: statistics of the linear layers' inputs on a text, block by block."""
