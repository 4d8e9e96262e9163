"""A block in which JAX may trace nothing, for tests."""

import contextlib
from collections import Counter
from collections.abc import Generator
from typing import Any

import jax

from purestate._core.errors import RetraceError

_EVENT = "jaxpr_trace"


@contextlib.contextmanager
def no_traces() -> Generator[None]:
    """Raises at the end of a `with` block if JAX traced a function for `jax.jit` in it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> double = jax.jit(lambda x: 2 * x)
    >>> x, y = jnp.ones([2]), jnp.ones([3])
    >>> _ = double(x)  # the first call traces and compiles
    >>> with ps.testing.no_traces():
    ...     _ = double(x)
    >>> with ps.testing.no_traces():  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     _ = double(y)
    Traceback (most recent call last):
    RetraceError: ... JAX traced <lambda>

    It hears of all functions, also of those of JAX itself: `jnp.ones([3])` is traced at its first
    use too. So make the arguments before the block. To hear why one function is traced, use
    `ps.explain_retrace`.

    Yields:
      Nothing.

    Raises:
      RetraceError: JAX traced something. It names the functions.
    """
    traced: Counter[str] = Counter()

    def heard(event: str, duration_secs: float, **about: Any) -> None:
        if _EVENT in event:
            traced[str(about.get("fun_name", "a function"))] += 1

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
    if traced:
        names = ", ".join(f"{name} ({n} times)" if n > 1 else name for name, n in traced.items())
        raise RetraceError(
            f"In a block of `ps.testing.no_traces`, JAX traced {names}. Call each function once"
            " before the block, with arguments of the same shapes and dtypes."
            " `ps.explain_retrace(f)` says what changed."
        )
