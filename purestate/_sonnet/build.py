"""`build`: the variables of a module, without its output."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.frame import Frame
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Snapshot, Values, keep, new_names, take_snapshot
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.outside import in_a_frame


def build(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Creates all variables of a module, and computes no output.

    JAX traces the function and compiles only what the initial values need. What the function
    assigns to variables, such as running statistics, is not kept.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> mean = snt.Mean()
    >>> snt.build(mean, [3])
    ShapeDtypeStruct(shape=(3,), dtype=float32)
    >>> mean.sum, mean.count.value().item()
    (<Variable 'mean/sum:0' [3] float32, not trainable>, 0)

    Args:
      f: a module, or a function that creates variables.
      *args: its arguments. A list or tuple of ints stands for an array of float32 of that shape;
        for another dtype give a `jax.ShapeDtypeStruct`. JAX needs every size, so None, which in
        Sonnet stands for a size that is not known, is an error: write any size, such as 1.
      **kwargs: its keyword arguments, as they are or as `jax.ShapeDtypeStruct`.

    Returns:
      What `f` returns, with a `jax.ShapeDtypeStruct` in place of each array and number.

    Raises:
      SonnetValueError: a size is None.
    """
    args = tuple(_promoted(arg) for arg in args)
    with in_a_frame() as frame:
        lifted = Lifted(_remembering(f, frame), frame)
        before = take_snapshot(frame)
        shapes: list[Any] = []

        def created(before: Snapshot) -> tuple[Values, Any]:
            inputs, named = jax.tree.map(_example, (args, kwargs))
            out, after, _ = lifted.run(before, *inputs, **named)
            shapes.append(jax.tree.map(_shape_of, out))
            return new_names(before.values, after.initial), after.keys

        # Under `jit` the output is not computed, since only the new variables leave.
        values, keys = jax.jit(created)(before)
        keep(frame, Snapshot(values, values, keys))
        return shapes[-1]


def _remembering(f: Callable[..., Any], frame: Frame) -> Callable[..., Any]:
    """Returns `f`, run in collections that keep the values with which variables are created."""

    def run(*args: Any, **kwargs: Any) -> Any:
        for collection in frame.collections.values():
            # That of modules outside keeps none. The collections here are those of this run only.
            if collection.changes and collection.initial is None:
                collection.initial = {}
        return f(*args, **kwargs)

    return run


def _promoted(arg: Any) -> Any:
    if not isinstance(arg, (list, tuple)) or not all(
        isinstance(size, (int, np.integer)) or size is None for size in arg
    ):
        return arg
    if None in arg:
        raise SonnetValueError(
            f"`snt.build` was given the shape {list(arg)}. JAX needs every size: write any size in"
            f" place of None, such as {[1 if size is None else int(size) for size in arg]}."
            " The variables do not depend on the size of the batch."
        )
    return jax.ShapeDtypeStruct(tuple(int(size) for size in arg), jnp.float32)


def _example(leaf: Any) -> Any:
    return jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf


def _shape_of(leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex)) or hasattr(leaf, "shape"):
        array = jnp.asarray(leaf)
        return jax.ShapeDtypeStruct(array.shape, array.dtype)
    return leaf
