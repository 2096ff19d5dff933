"""What tests of several files share; pytest has ``tests`` on its path."""
