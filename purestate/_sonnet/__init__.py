"""Sonnet 2 over the frame: the same names, layouts, numbers and errors."""
