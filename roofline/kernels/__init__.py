"""What the kernels of an engine reach: weight paths, loops, tiles and efficiencies."""
