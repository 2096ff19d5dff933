"""PE family: binary and ternary signs, a column a lane."""
