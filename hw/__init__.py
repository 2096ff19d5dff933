"""What is the machine? Cost records and the catalog of CPUs, GPUs and accelerators."""
