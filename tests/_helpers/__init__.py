"""Helpers shared by several test files; pytest has ``tests`` on its path."""
