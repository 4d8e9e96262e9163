"""`error_if`: an error that depends on values, also in compiled functions."""

import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.typing import ArrayLike

from purestate._core.errors import ConditionError
from purestate._core.frame import ambient
from purestate._core.path import ROOT
from purestate._core.trace_guard import is_traced, user_location

T = TypeVar("T")


def error_if(x: T, pred: ArrayLike, message: str) -> T:
    """Raises an error if `pred` is true when the program runs, compiled or not; returns `x`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     x = ps.error_if(x, x < 0, "lengths are never negative")
    ...     return jnp.sqrt(x)
    >>> f = ps.transform(forward)
    >>> try:
    ...     f.apply({}, None, jnp.array([4.0, -1.0]))
    ... except ps.errors.ConditionError as error:
    ...     print(str(error).partition(" (")[0])
    lengths are never negative
    Raised by `ps.error_if`

    The message names the module that was running, and the line. It also works outside a
    transformed function, and then names the line.

    If the value of `pred` is known, as without `jax.jit`, the error is a `ConditionError`, at once.
    A compiled program calls back into Python if `pred` is true. XLA then stops, and JAX raises
    `jax.errors.JaxRuntimeError`, which is a `RuntimeError` as well, with the whole message in its
    own. It comes when JAX waits for the results, so after `jax.block_until_ready` at the latest.
    The check stays in the program even if `x` is not used.

    Args:
      x: any pytree, which is returned as it is. Passing a value through shows what the check is
        for; the program is the same without.
      pred: a bool or an array of them; true if any element is.
      message: describes the problem.

    Returns:
      `x`.

    Raises:
      ConditionError: `pred` is true, and its value is known.
    """
    text = f"{message}\nRaised by `ps.error_if`{_place()}."
    _check(jnp.any(jnp.asarray(pred)) if is_traced(pred) else np.any(np.asarray(pred)), text)
    return x


def _place() -> str:
    frames = ambient.get()[0]
    path = frames[-1].scope.path if frames else None
    return (f" in module {path!r}" if path not in (None, ROOT) else "") + user_location()


def _check(pred: Any, text: str) -> None:
    """Raises if a scalar is true: now if it is known, else when the program runs."""
    raise_if = functools.partial(_raise_if, text)
    if not is_traced(pred):
        raise_if(pred)
        return

    # Not `jax.pure_callback`, which has a result: on several devices the others would wait for it
    # for ever after an error. A debug callback has none, stays in each program, and passes through
    # grad, scan, remat and shard_map. The condition saves a call into Python if all is well.
    @custom_vmap
    def check(pred: Any) -> None:
        jax.lax.cond(pred, lambda pred: jax.debug.callback(raise_if, pred), lambda pred: None, pred)

    # Without a rule of its own, `jax.vmap` would make both branches run, and so always call Python.
    @check.def_vmap
    def _(axis_size: int, in_batched: Any, pred: Any) -> tuple[None, None]:
        _check(pred.any(), text)
        return None, None

    check(pred)


def _raise_if(text: str, pred: Any) -> None:
    if pred:
        raise ConditionError(text)
