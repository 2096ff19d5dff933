"""PE family: block-scaled dot products (MX, NVFP4)."""
