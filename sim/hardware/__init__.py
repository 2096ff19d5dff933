"""``qsim rtl`` for the terminal: list, verify and cost processing elements."""
