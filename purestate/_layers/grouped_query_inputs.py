"""Checks of the inputs of `GroupedQueryAttention`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._layers.errors import LayerError, not_an_array
from purestate._layers.rotary_embedding import rotary_frequencies


def frequencies_for(
    what: str, key_size: int, base: float | None, frequencies: ArrayLike | None
) -> ArrayLike | None:
    """Returns the frequencies of a rotary embedding; None without one.

    Args:
      what: the layer, for messages.
      key_size: the size of a head.
      base: the base of the frequencies, or None.
      frequencies: these themselves, or None.
    """
    if base is None and frequencies is None:
        return None
    if base is not None and frequencies is not None:
        raise LayerError(
            f"{what}: rotary_base={base} has no effect beside rotary_frequencies. Pass"
            " one of them; ps.rotary_frequencies takes a base."
        )
    if key_size % 2:
        raise LayerError(
            f"{what}: a rotary embedding turns pairs of features, so key_size={key_size} has to"
            " be even."
        )
    return frequencies if base is None else rotary_frequencies(key_size, base)


def check_inputs(
    layer: Module, inputs: jax.Array, positions: ArrayLike | None, is_rotary: bool
) -> None:
    """Raises unless inputs are `[B, T, D]` or `[T, D]`, and positions have a use."""
    try:
        rank = len(inputs.shape)
    except AttributeError:
        raise not_an_array(layer, inputs) from None
    if rank not in (2, 3):
        raise LayerError(
            f"GroupedQueryAttention {layer.module_name!r} needs an input [B, T, D] or [T, D],"
            f" got shape {inputs.shape}."
        )
    if positions is not None and not is_rotary:
        raise LayerError(
            f"GroupedQueryAttention {layer.module_name!r} was given positions, but has no use"
            " for them: pass rotary_base too."
        )


def check_keys_values(
    layer: Module, inputs: jax.Array, source: Any, counts: Mapping[str, bool]
) -> None:
    """Raises unless `keys_values` fit the inputs.

    Args:
      layer: the attention.
      inputs: what queries are made of.
      source: what keys and values are made of.
      counts: which options are set that count steps, in words.
    """
    what = f"GroupedQueryAttention {layer.module_name!r}"
    if not hasattr(source, "shape"):
        raise not_an_array(layer, source, "its keys_values")
    if len(source.shape) != inputs.ndim or source.shape[:-2] != inputs.shape[:-2]:
        raise LayerError(
            f"{what} was given keys_values of shape {source.shape} for an input of"
            f" {inputs.shape}; they are [B, S, D'] for [B, T, D]."
        )
    for option, is_set in counts.items():
        if is_set:
            raise LayerError(
                f"{what} was given keys_values and {option}, which counts steps of one sequence."
                " Leave it out; a mask says what a step may see of another."
            )


def fitted(layer: Module, given: jax.Array, shape: tuple[int, ...], name: str) -> jax.Array:
    """Returns a mask or a bias with the axes of `shape`, `[B, H, T, S]` or `[H, T, S]`."""
    try:
        rank = given.ndim
    except AttributeError:
        raise not_an_array(layer, given, f"its {name}") from None
    if len(shape) == 3 and rank == 4 and given.shape[0] == 1:
        given = given[0]  # as the functions that make masks return them
    kind = "bool" if name == "mask" else "floating"
    if (
        not jnp.issubdtype(given.dtype, jnp.bool_ if name == "mask" else jnp.floating)
        or given.ndim != len(shape)
        or any(m not in (1, n) for m, n in zip(given.shape, shape, strict=True))
    ):
        raise LayerError(
            f"GroupedQueryAttention {layer.module_name!r} was given a {name} of {given.dtype} and"
            f" shape {np.shape(given)}; here it has to be {kind} and {shape}, or to have ones in"
            " it: [B, H, T, S], where S is T or, with a cache, its size. For one"
            f" {name} [T, S] write {name}[None, None]; for one per example, [B, T, S], write"
            f" {name}[:, None]."
        )
    return given
