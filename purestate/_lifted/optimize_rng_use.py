"""Splitting once for all the keys that a function will draw."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from purestate._core.frame import get_frame
from purestate._core.keys import PRNGSequence
from purestate._lifted.lift_frame import lift_changes, names_here, rewind_names


def optimize_rng_use(fun: Callable[..., Any]) -> Callable[..., Any]:
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
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A function made by `ps.experimental.optimize_rng_use`")
        if isinstance(frame.keys, PRNGSequence):
            counts: list[int] = []

            def count(*args: Any, **kwargs: Any) -> None:
                before = frame.num_drawn
                fun(*args, **kwargs)
                counts.append(frame.num_drawn - before)

            names = names_here(frame)
            closed = lift_changes(count, frame)
            jax.eval_shape(lambda *args, **kwargs: closed(*args, **kwargs)[0], *args, **kwargs)
            rewind_names(frame, names)
            frame.keys.reserve(counts[-1])
        return fun(*args, **kwargs)

    return wrapped
