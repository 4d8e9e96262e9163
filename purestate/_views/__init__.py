"""Objects over pure functions: models and optimizers that update themselves in place."""
