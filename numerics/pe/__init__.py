"""Bit-exact models of processing elements (PEs), which the hardware has to match."""
