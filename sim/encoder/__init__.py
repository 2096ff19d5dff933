"""Sentence encoders: the effect of weight formats on embeddings."""
