"""Converts weights of other libraries, and back."""

from purestate._convert.report import ConversionReport, Converted
from purestate._convert.torch import from_torch, to_torch

__all__ = [
    "ConversionReport",
    "Converted",
    "from_torch",
    "to_torch",
]
