"""Initializers that take a random key, such as those of `jax.nn.initializers`."""

import inspect
from collections.abc import Callable
from typing import Any

from purestate._core.rng import has_rng, next_rng_key

KEY_NAMES = ("key", "rng")
"""What the first argument of such an initializer is called."""


def with_key(init: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Makes `init(key, shape, dtype)` an initializer that draws its key from the frame."""

    def draw(shape: Any, dtype: Any) -> Any:
        shape = tuple(shape)
        if has_rng():
            return init(next_rng_key(), shape, dtype)
        try:
            return init(None, shape, dtype)  # zeros, ones and constants need no key
        except (TypeError, ValueError, AttributeError):
            pass
        return next_rng_key()  # which raises an error with the fix

    return draw


def takes_key(init: Callable[..., Any]) -> bool:
    """Whether an initializer takes a key as its first of three or more arguments.

    `run_creators` looks at plain functions itself, which costs no call. This is for all other
    callables: objects, bound methods, `functools.partial`, `jax.jit`.
    """
    try:
        parameters = list(inspect.signature(init).parameters.values())
    except (TypeError, ValueError):
        return False
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in by_place if p.default is p.empty]
    return len(required) > 2 or (len(by_place) > 2 and by_place[0].name in KEY_NAMES)


def as_initializer(init: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Returns `init` as a function of shape and dtype, whether it takes a key or not."""
    return with_key(init) if takes_key(init) else init
