"""What the cases share."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import purestate as ps

X = np.ones([2, 3], np.float32)


def key() -> Any:
    return jax.random.key(0)


def init(f: Callable[..., Any], *args: Any) -> Any:
    """Runs `init` of a function, with a key."""
    return ps.transform_with_state(f).init(key(), *args)


def run(f: Callable[..., Any], *args: Any) -> Any:
    """Runs `init` and `apply` of a function, with a key."""
    params, state = init(f, *args)
    return ps.transform_with_state(f).apply(params, state, key(), *args)


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)
