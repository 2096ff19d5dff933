"""What happens to the model? Forward pass, sweeps, reports and the command line."""
