"""Float32 building blocks: casts, IEEE division and bit packing."""
