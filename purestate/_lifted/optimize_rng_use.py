"""Splitting once for all the keys that a function will draw."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from purestate._core.frame import get_frame
from purestate._core.keys import PRNGSequence
from purestate._core.observer import Observer
from purestate._lifted.lift_frame import Lifted

P = ParamSpec("P")
R = TypeVar("R")


def optimize_rng_use(fun: "Callable[P, R]") -> "Callable[P, R]":
    """Finds out how many keys `fun` will draw, and splits them off in one operation before it runs.

    One operation in the jaxpr instead of one per key; the keys differ from those made one at a
    time.

    >>> import jax, purestate as ps
    >>> def draw():
    ...     return [ps.next_rng_key() for _ in range(3)]
    >>> f = ps.transform(lambda: ps.experimental.optimize_rng_use(draw)())
    >>> len(f.apply({}, jax.random.key(0)))
    3

    Args:
      fun: a module or function.

    Returns:
      A function of the same arguments and result.

    Raises:
      FrameError: called outside a transformed function.
    """

    @functools.wraps(fun)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        frame = get_frame("A function made by `ps.experimental.optimize_rng_use`")
        source = frame.keys.source
        # Keys by path are not split one after the other, so there is nothing to do for them. Nor is
        # there without a key.
        if isinstance(source, PRNGSequence):
            drawn = _Draws()
            # JAX has no way to say how many keys a function draws, so it runs on shapes first.
            Lifted(fun, frame).look(*args, observer=drawn, **kwargs)
            source.reserve(drawn.count)
        return fun(*args, **kwargs)

    return wrapped


class _Draws(Observer):
    """Counts the keys that are drawn one by one, in frames within too."""

    def __init__(self) -> None:
        self.count = 0

    def drew(self) -> None:
        """Counts one."""
        self.count += 1
