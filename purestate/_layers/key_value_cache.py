"""Caches of keys and values, as state of the attention that runs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._core.current import running_init
from purestate._core.variables import get_state, set_state
from purestate._layers.attention_masks import causal_mask
from purestate._layers.errors import LayerError


def as_int(value: jax.Array) -> int | None:
    """The number that a scalar holds; None while it is traced."""
    try:
        return int(value)
    except jax.errors.ConcretizationTypeError:
        return None


def cached(what: str, name: str, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Returns a cache, a state that starts as zeros.

    Args:
      what: the layer, for messages.
      name: the name of the state.
      shape: its shape.
      dtype: its dtype, if it is new.
    """
    cache = get_state(name, shape, dtype, jnp.zeros)
    if cache.shape != shape:
        raise LayerError(
            f"{what}: the state {name!r} has shape {cache.shape}, but {shape} is needed for this"
            " input. A cache is for one batch and one cache_size: make a state for them with"
            " `init`."
        )
    return cache


def start_of_steps(what: str, length: int, size: int, *, is_ring: bool) -> jax.Array:
    """The position of the first of `length` new steps; raises if the cache is full."""
    start = get_state("position", (), jnp.int32, jnp.zeros)
    used = as_int(start)
    if not is_ring and length + (used or 0) > size:
        raise LayerError(
            f"{what} keeps cache_size={size} steps; {used or 0} are there, and {length} more do not"
            f" fit. Give it a larger cache_size, or start over with the state that"
            " `init` returned."
        )
    return start


class Growing:
    """A cache that keeps all steps, one after the other.

    Attributes:
      mask: which of its steps a new step may see, `[T, S]`.
    """

    def __init__(self, what: str, start: jax.Array, length: int, size: int):
        self._what = what
        self._start = start
        self._size = size
        self.mask = causal_mask(length, size, start)[0, 0]

    def add(self, name: str, new: jax.Array, axis: int) -> jax.Array:
        """Writes the new steps into a cache, and returns the whole cache."""
        shape = (*new.shape[:axis], self._size, *new.shape[axis + 1 :])
        cache = cached(self._what, name, shape, new.dtype)
        cache = lax.dynamic_update_slice_in_dim(cache, new.astype(cache.dtype), self._start, axis)
        set_state(name, cache)
        return cache.astype(new.dtype)


def kept_from_the_first_call(
    what: str,
    size: int,
    shape: tuple[int, ...],
    dtype: Any,
    projected: Callable[[], tuple[jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array]:
    """Returns keys and values that are projected once, and kept as state.

    Args:
      what: the layer, for messages.
      size: the size of the cache.
      shape: that of keys and of values, `[..., S, G, K]`.
      dtype: that of both.
      projected: makes them.
    """
    if size != shape[-3]:
        raise LayerError(
            f"{what}: in cross-attention the cache keeps all keys and values, so cache_size is"
            f" their number, {shape[-3]}; got {size}."
        )
    is_filled = get_state("is_filled", (), bool, jnp.zeros)
    names = ("cached_keys", "cached_values")
    key, value = (cached(what, name, shape, dtype) for name in names)

    def first() -> tuple[jax.Array, jax.Array]:
        new = projected()
        return new[0].astype(key.dtype), new[1].astype(value.dtype)

    known = as_int(is_filled)
    if known == 0 or running_init():
        out = first()
    elif known:
        out = (key, value)
    else:
        from purestate._lifted.conditionals import cond

        out = cond(is_filled, lambda: (key, value), first)
    for name, new in zip(names, out, strict=True):
        set_state(name, new)
    set_state("is_filled", jnp.ones([], bool))
    return out


class Ring:
    """A cache that keeps the last steps: a new step takes the place of the oldest.

    Step p is kept in slot `p % size`. A query attends to the slots, and if its chunk has steps that
    took the place of some that it may still see, to the slots before the chunk and to the chunk.

    Attributes:
      mask: which of the steps that are attended to a new step may see, `[T, S]`.
    """

    def __init__(self, what: str, start: jax.Array, length: int, size: int, window: int):
        self._what = what
        self._start = start
        self._length = length
        self._size = size
        self._fits = length <= size - window + 1
        new = start + jnp.arange(length)
        if self._fits:
            positions = self._held(start + length - 1)
        else:
            positions = jnp.concatenate([self._held(start - 1), new])
        # Of a chunk that is longer than the ring only the end is kept.
        self._first = max(0, length - size)
        self._slots = new[self._first :] % size
        distance = positions[None] - new[:, None]
        self.mask = (distance <= 0) & (distance > -window) & (positions >= 0)  # [T, S]

    def _held(self, last: jax.Array) -> jax.Array:
        """The position in each slot when `last` was the last step."""
        return last - (last - jnp.arange(self._size)) % self._size

    def add(self, name: str, new: jax.Array, axis: int) -> jax.Array:
        """Writes the new steps into a cache, and returns all keys to attend to."""
        shape = (*new.shape[:axis], self._size, *new.shape[axis + 1 :])
        before = cached(self._what, name, shape, new.dtype)
        kept = lax.slice_in_dim(new, self._first, self._length, axis=axis).astype(before.dtype)
        after = before.at[(*[slice(None)] * axis, self._slots)].set(kept)
        set_state(name, after)
        if self._fits:
            return after.astype(new.dtype)
        return jnp.concatenate([before.astype(new.dtype), new], axis)
