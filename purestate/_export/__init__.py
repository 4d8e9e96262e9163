"""Exported functions: programs with their weights that need only JAX to run."""
