"""Loops that keep few of their steps for the gradient, and compute the others again."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import LoopError, kind_of

Step = Callable[[Any, Any], tuple[Any, Any]]


def segment_size(checkpoint: Any, steps: Any, what: str) -> int:
    """Returns how many steps lie between two that are kept.

    Args:
      checkpoint: True, or the number of steps itself.
      steps: how many steps there are.
      what: the loop, for errors.

    Returns:
      At least 1. For True it is about the root of `steps`, which keeps the fewest values.

    Raises:
      LoopError: neither True nor a positive int, or the number of steps is not known.
    """
    if not isinstance(steps, int):
        raise LoopError(
            f"`{what}` cuts the loop into segments for `checkpoint`, so the number of steps must be"
            f" an int that is known, but it is {steps}."
        )
    # T / size carries are stored, and size steps at a time: the sum is least at the root.
    if checkpoint is True:
        return max(1, math.isqrt(steps))
    if not isinstance(checkpoint, int) or checkpoint < 1:
        raise LoopError(
            f"`{what}(checkpoint={checkpoint!r})`: `checkpoint` is True, or the number of steps in"
            f" a segment (an int of at least 1), but got {kind_of(checkpoint)}."
        )
    return min(checkpoint, max(1, steps))


def scan_in_segments(
    step: Step, init: Any, xs: Any, length: int, reverse: bool, size: int, **options: Any
) -> tuple[Any, Any]:
    """Like `jax.lax.scan`; the gradient keeps the carry before each segment, and no step.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174), section 3.

    Args:
      step: `step(carry, x) -> (carry, y)`.
      init: the first carry.
      xs: a pytree of arrays `[length, ...]`, or None.
      length: the number of steps.
      reverse: whether to go from the last x to the first.
      size: the number of steps in a segment.
      **options: further keywords of `jax.lax.scan`, for the loops over steps.

    Returns:
      The last carry, and the ys, stacked `[length, ...]`.
    """
    whole, rest = divmod(length, size)

    def segment(steps: int) -> Step:
        def run(carry: Any, xs: Any) -> Any:
            return jax.lax.scan(step, carry, xs, steps, reverse, **options)

        # In a loop, XLA cannot merge the second computation with the first.
        return jax.checkpoint(run, prevent_cse=False)

    # The steps that fill no segment are the last that run, at one end of xs or the other.
    cut = rest if reverse else whole * size
    low, high = (jax.tree.map(lambda x, at=at: x[at], xs) for at in (slice(cut), slice(cut, None)))
    full, short = (high, low) if reverse else (low, high)
    # Two loops, one in the other: the outer one stores its carries, and nothing of the inner one.
    full = jax.tree.map(lambda x: x.reshape(whole, size, *x.shape[1:]), full)
    carry, ys = jax.lax.scan(segment(size), init, full, whole, reverse)
    ys = jax.tree.map(lambda y: y.reshape(whole * size, *y.shape[2:]), ys)
    if not rest:
        return carry, ys
    carry, last = segment(rest)(carry, short)
    parts = (last, ys) if reverse else (ys, last)
    return carry, jax.tree.map(lambda *both: jnp.concatenate(both), *parts)


def bounded_while(
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    max_steps: int,
    size: int | None,
) -> Any:
    """Like `jax.lax.while_loop` of at most `max_steps` steps, with a gradient in reverse mode.

    Args:
      cond: whether to go on.
      body: one step.
      init: the value before the loop.
      max_steps: the most steps.
      size: the number of steps in a segment. A gradient keeps the value before each segment, and
        those of one segment at a time. None keeps the value before each step.

    Returns:
      The last value.
    """

    # A step after the end leaves the value as it is, and costs a test. The test stands inside of
    # the part that is computed again: a branch would keep a copy of all parameters for each step.
    def until_end(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def unless_done(value: Any) -> Any:
            return jax.lax.cond(cond(value), run, lambda value: value, value)

        return jax.checkpoint(unless_done, prevent_cse=False)

    def times(number: int, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda value: jax.lax.scan(lambda v, _: (run(v), None), value, None, number)[0]

    step = until_end(body)
    if size is None:
        return times(max_steps, step)(init)
    # Of the segments after the end, only the first test runs.
    whole, rest = divmod(max_steps, size)
    value = times(whole, until_end(times(size, step)))(init)
    return until_end(times(rest, step))(value) if rest else value
