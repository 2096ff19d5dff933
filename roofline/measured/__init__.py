"""Published measurements: reading a table, matching its words, scoring predictions."""
