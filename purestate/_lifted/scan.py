"""`scan` and `map` with bodies that use the frame."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import LoopError, NewVariableError
from purestate._core.frame import Frame, get_frame
from purestate._core.path import variable_path
from purestate._lifted.lift_frame import (
    Snapshot,
    fill_keys,
    lift_frame,
    names_here,
    restore,
    rewind_names,
    take_snapshot,
)


def carried(frame: Frame) -> Snapshot:
    """What a loop carries from step to step: the state and the keys. Parameters it reads by closure."""
    fill_keys(frame)
    return take_snapshot(frame)._replace(params=None, initial=None)


def lift_step(f: Callable[..., Any], frame: Frame) -> Callable[..., tuple[Any, Snapshot]]:
    """Returns a step of a loop as a pure function of what the loop carries. It may make nothing new."""
    pure = lift_frame(f, frame, fill=True)

    def step(snapshot: Snapshot, *args: Any) -> tuple[Any, Snapshot]:
        out, after = pure(snapshot, *args)
        made = [
            variable_path(module, name)
            for inside, outside in ((after.params, frame.collections["params"].values), (after.state, snapshot.state))
            for module, bundle in (inside or {}).items()
            for name in bundle
            if name not in (outside or {}).get(module, {})
        ]
        if made:
            raise NewVariableError(
                f"The loop body makes {', '.join(sorted(made))}, which was not made before the loop or in its first step: "
                "a loop has to carry the same variables from step to step. Make them before it."
            )
        return out, after._replace(params=None, initial=None)

    return step


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    **options: Any,
) -> tuple[Any, Any]:
    """Like `jax.lax.scan`, with a body that uses modules, state or random keys.

    The parameters are the same for all steps, the state is carried from step to step, and each step
    gets keys of its own. In `init` the first step runs outside the loop, to make the variables.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     cell = ps.Linear(2)
    ...     return ps.scan(lambda h, x: (jnp.tanh(cell(h) + x), h), jnp.zeros([2]), xs)
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([5, 2])
    >>> last, hs = g.apply(g.init(jax.random.key(0), xs), None, xs)
    >>> hs.shape
    (5, 2)

    Args:
      f: `f(carry, x) -> (carry, y)`.
      init: the first carry.
      xs: a pytree of arrays `[T, ...]`, or None.
      length: T; needed where `xs` is None.
      reverse: whether to go from the last x to the first.
      unroll: how many steps to put into one turn of the loop.
      **options: further keywords of `jax.lax.scan`.

    Returns:
      The last carry, and the ys, stacked `[T, ...]`.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.scan` does.
      NewVariableError: a later step makes a variable that the first did not make.
    """
    frame = get_frame("`ps.scan` (outside, `jax.lax.scan` does)")
    if length is None:
        leaves = jax.tree.leaves(xs)
        if not leaves:
            raise LoopError("`ps.scan` has no arrays in xs to tell the number of steps from: pass `length`.")
        length = int(leaves[0].shape[0])
    first_y = None
    names = names_here(frame)
    if frame.running_init:
        if not length:
            _, y = f(init, jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), xs))
            return init, jax.tree.map(lambda y: jnp.zeros((0, *y.shape), y.dtype), y)
        at, rest = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
        init, first_y = f(init, jax.tree.map(lambda x: x[at], xs))
        first_y = jax.tree.map(lambda y: jnp.expand_dims(y, 0), first_y)
        xs = jax.tree.map(lambda x: x[rest], xs)
        length -= 1
        if not length:
            return init, first_y
        rewind_names(frame, names)  # the first step is not another call, but the body's first
    step = lift_step(f, frame)

    def body(carry: Any, x: Any) -> Any:
        carry, snapshot = carry
        (carry, y), snapshot = step(snapshot, carry, x)
        return (carry, snapshot), y

    start = (init, carried(frame))
    (carry, snapshot), ys = jax.lax.scan(body, start, xs, length, reverse, unroll, **options)
    restore(frame, snapshot)
    if first_y is not None:
        ys = jax.tree.map(lambda y, ys: jnp.concatenate([ys, y] if reverse else [y, ys]), first_y, ys)
    return carry, ys


def map(f: Callable[[Any], Any], xs: Any) -> Any:  # noqa: A001 (JAX's name)
    """Like `jax.lax.map`, with a function that uses modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda xs: ps.map(ps.Linear(2), xs))
    >>> xs = jnp.ones([5, 3])
    >>> f.apply(f.init(jax.random.key(0), xs), None, xs).shape
    (5, 2)

    Args:
      f: a function of one element of `xs`.
      xs: a pytree of arrays `[T, ...]`.

    Returns:
      The results, stacked `[T, ...]`.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.map` does.
    """
    get_frame("`ps.map` (outside, `jax.lax.map` does)")

    @functools.wraps(f)
    def body(carry: Any, x: Any) -> Any:
        return carry, f(x)

    return scan(body, (), xs)[1]
