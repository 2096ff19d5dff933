"""What a number format is, told to a person: lists, value grids, and why a number rounds so."""
