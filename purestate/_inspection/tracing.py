"""Traces a function without JAX's caches, and with some arguments as Python values."""

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


def with_axes(f: Callable[P, R], axis_env: AxisEnv) -> Callable[P, R]:
    """Returns `f` run inside mapped axes of these names and sizes. It maps nothing over them."""
    mapped: Any = f
    for name, size in axis_env:
        mapped = jax.vmap(mapped, in_axes=None, out_axes=None, axis_name=name, axis_size=size)
    return mapped


def traced_again(f: Callable[P, R], axis_env: AxisEnv = ()) -> Callable[P, R]:
    """Returns `f` so that JAX traces it, and all jitted functions in it, again.

    JAX does not trace a jitted function that has run before, so its contents would be missing. The
    caches depend on the names of mapped axes, so an axis with a new name avoids them. Nothing is
    mapped over it. (`jax.disable_jit` would do it too, but then loops run step by step.)
    """
    return with_axes(f, [*axis_env, (f"purestate_inspection_{next(_numbers)}", 1)])
