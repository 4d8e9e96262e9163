"""Sonnet's regularizers: one number from a list of arrays."""

from purestate._sonnet.regularizers import L1, L2, OffDiagonalOrthogonal, Regularizer

__all__ = ["L1", "L2", "OffDiagonalOrthogonal", "Regularizer"]
