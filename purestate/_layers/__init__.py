"""One file for each layer."""
