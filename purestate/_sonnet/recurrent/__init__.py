"""Sonnet's recurrent cores, and running them over a sequence."""
