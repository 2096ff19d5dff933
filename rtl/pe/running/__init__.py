"""PE family: sums that are rounded with each value."""
