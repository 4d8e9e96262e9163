"""Files of params and state: saving, and loading into a model."""
