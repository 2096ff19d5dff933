"""Names that a user types, and what they mean to every command."""
