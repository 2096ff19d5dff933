"""``qsim formats`` for the terminal: lists of formats, value grids and explained roundings."""
