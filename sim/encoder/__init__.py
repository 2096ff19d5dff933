"""Sentence encoders: what weight formats do to embeddings."""
