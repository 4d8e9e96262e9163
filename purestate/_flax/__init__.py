"""Modules of flax linen inside purestate, and the other way round."""
