"""Verilog of a PE and its head comment."""
