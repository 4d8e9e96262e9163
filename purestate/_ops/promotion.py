"""Functions of JAX that fail under strict dtype promotion, although their arguments go together."""

from collections.abc import Callable
from typing import Any

import jax


def with_standard_promotion(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls `f` under the standard promotion, if the strict one is set."""
    config: Any = jax.config
    if config.jax_numpy_dtype_promotion != "strict":
        return f(*args, **kwargs)
    with jax.numpy_dtype_promotion("standard"):
        return f(*args, **kwargs)
