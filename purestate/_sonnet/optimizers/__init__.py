"""Sonnet's optimizers: they assign to variables, and are also gradient transformations of optax."""
