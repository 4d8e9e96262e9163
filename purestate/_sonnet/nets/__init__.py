"""Whole networks of Sonnet."""
