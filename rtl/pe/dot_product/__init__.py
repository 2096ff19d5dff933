"""PE family: exact dot products of two element formats."""
