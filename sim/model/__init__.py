"""One forward pass, built from parts, for every supported family of decoder-only models."""
