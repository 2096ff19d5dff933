"""PE family: additive and vector codebooks."""
