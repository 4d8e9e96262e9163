"""Tracing what a layer computes once, and no more for each layer of the same shape."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from purestate._core.frame import ambient

# From jax 0.11 on `inline=True` means when lowering; before, when tracing, which is what this is
# about.
_EARLY: Any = jax.Inline.JAX_EARLY if hasattr(jax, "Inline") else True  # pyright: ignore

_F = TypeVar("_F", bound=Callable[..., Any])


def is_staged() -> bool:
    """Whether a jaxpr is being made of what the frame does, and nothing is computed at once.

    Where it is computed, layers use jax.numpy's functions in place of the equations that they come
    to: from JAX 0.12 on the gradient of each of them is compiled as one, in which a product and its
    transposition become one sum in another order.
    """
    frames = ambient.get()[0]
    return bool(frames) and frames[-1].home.staged


def inlined(*, static: int | tuple[int, ...] = ()) -> Callable[[_F], _F]:
    """Has JAX remember the jaxpr of a function of arrays, and write it out where it is called.

    As `jax.jit(f, inline=True)`, which is how jax.numpy's own functions are made: the same
    equations, and less Python for all calls but the first of a shape, above all under `jax.grad`,
    since the derivative is remembered too. Where nothing is staged out the function runs as it is:
    compiled as one it might round in another way than its operations one by one.

    Args:
      static: the positions of arguments that are Python values.

    Returns:
      A decorator.
    """

    def decorate(f: _F) -> _F:
        remembered = jax.jit(f, inline=_EARLY, static_argnums=static)

        @functools.wraps(f)
        def run(*args: Any) -> Any:
            frames = ambient.get()[0]  # is_staged, without a call
            if frames and frames[-1].home.staged:
                return remembered(*args)
            return f(*args)

        return run  # pyright: ignore[reportReturnType]

    return decorate
