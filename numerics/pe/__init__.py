"""What processing elements compute: the arithmetic that hardware has to equal, bit for bit."""
