"""Whole networks."""

from purestate._nets.mlp import MLP

__all__ = ["MLP"]
