"""JAX transforms inside a transformed function."""
