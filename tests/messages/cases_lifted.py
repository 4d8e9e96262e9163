"""TODO."""

CASES = {}
