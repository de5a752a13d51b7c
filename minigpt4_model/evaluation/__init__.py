"""Measuring: what the model can do, and how fast it is."""
