"""Model shapes and their names."""
