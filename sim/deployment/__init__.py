"""Deployment planning: how fast and at what cost a model runs on a machine, told to a person."""
