"""Tracing what a layer computes once, and no more for each layer of the same shape."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from purestate._core import trace_guard
from purestate._core.frame import ambient
from purestate._core.hooks import OPERATION

# From jax 0.11 on `inline=True` means when lowering; before, when tracing, which is what this is
# about.
_EARLY: Any = jax.Inline.JAX_EARLY if hasattr(jax, "Inline") else True  # pyright: ignore

_F = TypeVar("_F", bound=Callable[..., Any])


def is_staged() -> bool:
    """Whether a jaxpr is being made of what the frame does, and nothing is computed at once.

    If it is computed, layers use jax.numpy's functions in place of the equations that they come
    to: from JAX 0.12 on the gradient of each of them is compiled as one, in which a product and its
    transposition become one sum in another order.
    """
    frames = ambient.get()[0]
    return bool(frames) and frames[-1].home.staged


def is_intercepted() -> bool:
    """Whether something intercepts operations."""
    return any(hook.event == OPERATION for hook in ambient.get()[1])


def remembered_by_jax(f: Callable[..., Any], static: tuple[str, ...]) -> Callable[..., Any]:
    """Returns `f` as a function whose jaxpr JAX remembers, and writes out in each call.

    As `jax.jit(f, inline=True)`, which is how jax.numpy's own functions are made: the same
    equations, and less Python for all calls but the first of a shape, above all under `jax.grad`,
    since the derivative is remembered too.
    """
    trace_guard.explain_only_traces_of_users()
    return jax.jit(f, inline=_EARLY, static_argnames=static)


def argument_names(f: Callable[..., Any]) -> tuple[str, ...]:
    """Returns the names of what a plain function takes by position."""
    code = f.__code__
    return code.co_varnames[: code.co_argcount]


def inlined(*, static: int | tuple[int, ...] = ()) -> Callable[[_F], _F]:
    """Has JAX remember the jaxpr of a function of arrays, if one is being made.

    If nothing is staged out the function runs as it is: compiled as one it might round in
    another way than its operations one by one. It does so too while operations are intercepted,
    since there may be some in it.

    Args:
      static: the positions of arguments that are Python values.

    Returns:
      A decorator.
    """
    positions = static if isinstance(static, tuple) else (static,)

    def decorate(f: _F) -> _F:
        remembered: Any = None

        @functools.wraps(f)
        def run(*args: Any) -> Any:
            nonlocal remembered
            frames, hooks = ambient.get()  # is_staged, without a call
            for hook in hooks:
                if hook.event == OPERATION:
                    return f(*args)
            if frames and frames[-1].home.staged:
                if remembered is None:
                    names = argument_names(f)
                    remembered = remembered_by_jax(f, tuple(names[i] for i in positions))
                return remembered(*args)
            return f(*args)

        return run  # pyright: ignore[reportReturnType]

    return decorate
