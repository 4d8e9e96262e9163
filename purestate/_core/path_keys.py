"""A source of random keys that goes by the paths of what asks for them."""

import hashlib
import itertools
from typing import Any

import jax
import numpy as np

from purestate._core.frame import get_frame
from purestate._core.path import ROOT

_sources = itertools.count()


class PathKeys:
    """Keys that depend on the path of what requests them, and not on earlier requests.

    The key of a variable's initial value is the given key, with the hash of the variable's path
    folded in. So adding, removing or reordering other variables does not change it. Other keys
    come from the path of the module and a count, which is in the frame's ledger.
    """

    __slots__ = ("_draws", "_source", "_values")

    def __init__(self, values: Any, draws: Any = None, source: int | None = None):
        self._values = values  # what keys of initial values come from
        self._draws = (
            values if draws is None else draws
        )  # what all others come from; loops change it
        # Each given key counts for itself, so that the same key gives the same keys again.
        self._source = next(_sources) if source is None else source

    @property
    def internal_state(self) -> Any:
        """What keys are made from."""
        return self._values, self._draws

    def replace_internal_state(self, state: Any) -> None:
        """Goes on from `state`."""
        self._values, self._draws = state

    state, go_on_from = internal_state, replace_internal_state

    def again(self, state: Any) -> "PathKeys":
        """Returns another that goes on from `state`."""
        values, draws = state
        return PathKeys(values, draws, self._source)

    def reserve(self, num: int) -> None:
        """Does nothing: there is nothing to split."""

    def reserve_up_to_full(self) -> None:
        """Changes what keys are drawn from, so that the next step of a loop gets others."""
        self._draws = jax.random.fold_in(self._draws, 1)

    def refill(self, start: Any) -> None:
        """Changes what keys are drawn from, as `reserve_up_to_full` does."""
        self.reserve_up_to_full()

    def split_due(self) -> None:
        """Does nothing: there is nothing to split."""

    def __next__(self) -> jax.Array:
        frame = get_frame("A random key")
        creating = frame.creating
        if creating is not None:
            where, base, count = f"{creating.path}/{creating.name}", self._values, creating.drawn
            creating.drawn += 1
        else:
            where, base, draws = frame.scope.path or ROOT, self._draws, frame.ledger.draws
            count = draws.get((self._source, where), 0)
            draws[self._source, where] = count + 1
        return jax.random.fold_in(self._at(base, where), count)

    def _at(self, base: Any, path: str) -> jax.Array:
        for half in _halves_of_hash(path):
            base = jax.random.fold_in(base, half)
        return base

    def take(self, num: int) -> tuple[jax.Array, ...]:
        """Returns `num` keys."""
        return tuple(next(self) for _ in range(num))

    def elements(self, num: int) -> Any:
        """Returns an array to map over, to give each of `num` elements keys of its own."""
        return jax.random.split(next(self), num)

    def element(self, part: Any) -> Any:
        """Returns the `internal_state` that an element begins with, from its part of `elements`."""
        return self._values, part

    def for_path(self, path: str) -> jax.Array:
        """Returns the key for the initial values of the module at `path`."""
        return self._at(self._values, path)


def _halves_of_hash(text: str) -> tuple[np.uint32, np.uint32]:
    # 64 bits, so that two paths do not meet; Python's own hash differs from run to run.
    digest = hashlib.sha256(text.encode()).digest()
    return np.uint32(int.from_bytes(digest[:4], "big")), np.uint32(
        int.from_bytes(digest[4:8], "big")
    )
