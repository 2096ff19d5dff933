"""Verification of PEs: compiled models, simulation of the emitted file, proofs."""
