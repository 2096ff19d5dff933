"""Circuits that PEs are made of: decoders, multipliers, shifters, adders, normalizers."""
