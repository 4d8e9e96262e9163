"""Padding for convolutions."""

from purestate._layers.padding import (
    PadFn,
    causal,
    create,
    create_from_padfn,
    create_from_tuple,
    full,
    is_padfn,
    reverse_causal,
    same,
    valid,
)

__all__ = [
    "PadFn",
    "causal",
    "create",
    "create_from_padfn",
    "create_from_tuple",
    "full",
    "is_padfn",
    "reverse_causal",
    "same",
    "valid",
]
