"""Converts weights of other libraries, and back."""

from purestate._convert.equinox import from_equinox, to_equinox
from purestate._convert.flax import from_flax, from_nnx, to_flax, to_nnx
from purestate._convert.haiku import from_haiku, to_haiku
from purestate._convert.keras import from_keras, to_keras
from purestate._convert.qkv import qkv_to_blocks, qkv_to_heads
from purestate._convert.report import ConversionReport, Converted
from purestate._convert.rotary import rotary_to_halves, rotary_to_pairs
from purestate._convert.sonnet import from_sonnet, to_sonnet
from purestate._convert.torch import from_torch, to_torch

__all__ = [
    "ConversionReport",
    "Converted",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_nnx",
    "from_sonnet",
    "from_torch",
    "qkv_to_blocks",
    "qkv_to_heads",
    "rotary_to_halves",
    "rotary_to_pairs",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_nnx",
    "to_sonnet",
    "to_torch",
]
