"""Running a function on shapes."""

from collections.abc import Callable
from typing import Any

import jax


def eval_shape_of(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Like `jax.eval_shape`, but leaves arguments that are not arrays as they are."""
    leaves, treedef = jax.tree.flatten((args, kwargs))
    traced = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves]

    def run(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        args, kwargs = treedef.unflatten(
            [
                next(rest) if is_array else leaf
                for leaf, is_array in zip(leaves, traced, strict=True)
            ]
        )
        return f(*args, **kwargs)

    return jax.eval_shape(
        run, [leaf for leaf, is_array in zip(leaves, traced, strict=True) if is_array]
    )


def uncompiled(f: Any) -> Any:
    """Returns the function that `jax.jit` compiles, or `f` itself.

    A compiled function may answer from JAX's cache, so that an observer would see nothing.
    """
    while hasattr(f, "lower") and hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    return f
