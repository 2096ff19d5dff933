"""Hardware: the catalog of CPUs, GPUs, NPUs and accelerators, and cost records of PEs."""
