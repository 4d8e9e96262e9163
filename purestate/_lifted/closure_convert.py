"""`closure_convert`: a pure function, and the values that a function of the frame captures."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import CollectionError
from purestate._core.frame import Frame, FrameKeys, get_frame
from purestate._core.keys import KeyStreams, keys_for
from purestate._core.rng import next_rng_key
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import not_sliced_again
from purestate._lifted.reads import reads_of
from purestate._lifted.snapshot import Snapshot, keep


def closure_convert(
    fun: Callable[..., Any], *example_args: Any
) -> tuple[Callable[..., Any], list[Any]]:
    """Like `jax.closure_convert`, for functions that use modules, state or random keys.

    For solvers and other functions with a derivative of their own, which take a pure function and
    the values that it depends on:

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def euler(field, y, *captured):
    ...     return jax.lax.fori_loop(0, 10, lambda i, y: y + 0.1 * field(y, *captured), y)
    >>> def f(y):
    ...     field, captured = ps.closure_convert(ps.Linear(3), y)
    ...     return euler(field, y, *captured)
    >>> g = ps.transform(f)
    >>> y = jnp.ones([3])
    >>> g.apply(g.init(jax.random.key(0), y), None, y).shape
    (3,)

    In `init` the function runs once, to create its variables. If it draws keys, one key is
    captured, so each call draws the same.

    Args:
      fun: a module or function. It may not set state.
      *example_args: arguments, or `jax.ShapeDtypeStruct`s, of the shapes that it will get.

    Returns:
      `(pure, captured)`: `pure(*args, *captured)` returns what `fun(*args)` does. `captured` is a
      list: the variables that `fun` reads, a key if it draws any, and arrays that it closes over
      and JAX differentiates.

    Raises:
      FrameError: used outside a transformed function; use `jax.closure_convert` there.
      CollectionError: `fun` sets state, which a pure function cannot.
    """
    frame = get_frame("`ps.closure_convert` (outside, `jax.closure_convert` does)")
    lifted = Lifted(fun, frame)
    if frame.running_init:
        # An example may be a shape; the variables do not depend on its values.
        _, changed, sown = lifted.changing(*jax.tree.map(_as_array, example_args))
        keep(frame, changed, sown)
    reads = reads_of(frame, lifted, *example_args)
    if reads.written:
        raise CollectionError(
            f"`ps.closure_convert` was given a function that sets {reads.written[0]!r}. How often"
            " it will be called is not known, so its state would be lost. Use `ps.purify`, which"
            " returns the state, or set it outside of the function."
        )
    # An argument of the pure function is a variable that `fun` reads. All others stay out, since a
    # solver may compute a gradient by each of its arguments.
    variables = {store: bundle for store, bundle in reads.values.items() if bundle}
    captured: list[Any] = [variables] if variables else []
    if reads.draws:
        captured.append(_key_of_its_own(frame))

    def run(*args: Any) -> Any:
        given, args = args[: len(captured)], args[len(captured) :]
        values = {**{name: {} for name in frame.collections}, **(given[0] if variables else {})}
        # No key means that none may be drawn.
        outside, mode = frame.keys, frame.keys.mode
        frame.keys = FrameKeys(keys_for(given[-1], mode) if reads.draws else None, mode)
        try:
            with not_sliced_again(frame, {0: values}):
                return lifted.run(Snapshot(values, {}, None), *args)[0]
        finally:
            frame.keys = outside

    # JAX finds what `fun` closes over in Python, and from here on `fun` is a jaxpr: it may be
    # called when the frame has ended.
    converted, more = jax.closure_convert(run, *captured, *example_args)
    number = len(captured)

    # JAX puts the captured values last, as solvers pass them on.
    def pure(*args: Any) -> Any:
        own, rest = args[: len(args) - number - len(more)], args[len(args) - number - len(more) :]
        return converted(*rest[:number], *own, *rest[number:])

    return pure, [*captured, *more]


def _key_of_its_own(frame: Frame) -> Any:
    """Draws a key from each stream that the frame has, so that none is used twice."""
    source = frame.keys.source
    if isinstance(source, KeyStreams):
        return {name: next_rng_key(name) for name in source.names}
    return next_rng_key()


def _as_array(example: Any) -> Any:
    if isinstance(example, jax.ShapeDtypeStruct):
        return jnp.zeros(example.shape, example.dtype)
    return example
