"""Weights of other libraries in purestate, and the other way round."""
