"""Tracing a function anew, whatever JAX has cached of it, with some of its arguments as Python values."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

AxisEnv = Sequence[tuple[Any, int]]

_numbers = itertools.count()


def is_array(x: object) -> bool:
    """Whether `x` is an array, or stands for one."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def function_of_arrays(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_traced: Callable[[Any], bool] = is_array,
) -> tuple[Callable[[list[Any]], Any], list[Any]]:
    """Returns `f(*args, **kwargs)` as a function of the arrays in its arguments, and these arrays.

    What is no array, such as a bool, is to be a Python value in `f`, and not to be traced.
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


def with_axes(f: Callable[P, R], axis_env: AxisEnv) -> Callable[P, R]:
    """Returns `f`, run where there are mapped axes of these names and sizes, over which nothing is mapped."""
    for name, size in axis_env:
        f = jax.vmap(f, in_axes=None, out_axes=None, axis_name=name, axis_size=size)  # pyright: ignore[reportArgumentType]
    return f


def traced_anew(f: Callable[P, R], axis_env: AxisEnv = ()) -> Callable[P, R]:
    """Returns `f`, for which, and for all that is jitted in it, no cache of JAX has an answer.

    Otherwise what is in a jitted function would not be seen, if that ran before. The caches know
    for which names of axes they hold, so an axis that nothing is mapped over, of a new name, does
    it. (`jax.disable_jit` would, too, but then loops run step by step.)
    """
    return with_axes(f, [*axis_env, (f"purestate_inspection_{next(_numbers)}", 1)])
