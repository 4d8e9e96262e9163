"""Running a function on shapes."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def is_array(x: object) -> bool:
    """Whether `x` is an array, or a `jax.ShapeDtypeStruct`."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def function_of_arrays(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_traced: Callable[[Any], bool] = is_array,
) -> tuple[Callable[[list[Any]], Any], list[Any]]:
    """Returns `f(*args, **kwargs)` as a function of the arrays in its arguments, and these arrays.

    Other arguments, such as bools, are Python values in `f`, and not traced.
    """
    leaves, treedef = jax.tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if is_traced(leaf)]

    def run(arrays: list[Any]) -> Any:
        filled = list(leaves)
        for i, array in zip(places, arrays, strict=True):
            filled[i] = array
        args, kwargs = jax.tree.unflatten(treedef, filled)
        return f(*args, **kwargs)

    return run, [leaves[i] for i in places]


def eval_shape_of(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Like `jax.eval_shape`, but leaves arguments that are not arrays as they are."""
    return jax.eval_shape(*function_of_arrays(f, args, kwargs, _has_shape))


def _has_shape(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def uncompiled(f: Any) -> Any:
    """Returns the function that `jax.jit` compiles, or `f` itself.

    A compiled function may answer from JAX's cache, so that an observer would see nothing.
    """
    while hasattr(f, "lower") and hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    return f
