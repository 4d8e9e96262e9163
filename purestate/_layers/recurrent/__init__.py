"""Cores, which keep a state from step to step, and what runs them over a sequence."""
