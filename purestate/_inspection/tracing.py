"""Traces a function without JAX's caches."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

AxisEnv = Sequence[tuple[Any, int]]

_numbers = itertools.count()


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
