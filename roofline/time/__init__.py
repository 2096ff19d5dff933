"""Time and energy of steps and of whole requests."""
