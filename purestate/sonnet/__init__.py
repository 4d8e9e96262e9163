"""Sonnet 2 in JAX."""
