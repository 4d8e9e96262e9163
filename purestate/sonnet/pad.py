"""Sonnet's padding of convolutions."""

from purestate._sonnet.pad import causal, create, full, reverse_causal, same, valid

__all__ = ["causal", "create", "full", "reverse_causal", "same", "valid"]
