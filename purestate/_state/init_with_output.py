"""`init_with_output`: the variables that `init` makes, and what the function returned meanwhile."""

import dataclasses
from collections.abc import Callable
from typing import Any, overload

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.pairs import (
    MutableParams,
    MutableState,
    Program,
    PureFunction,
    Transformed,
    TransformedWithState,
)
from purestate._core.signatures import or_any
from purestate._state.transform_with_collections import TransformedWithCollections, Variables


@overload
def init_with_output(
    f: "Transformed[Any, Any]",
) -> "Callable[..., tuple[Any, MutableParams]]": ...
@overload
def init_with_output(
    f: "TransformedWithState[Any, Any]",
) -> "Callable[..., tuple[Any, MutableParams, MutableState]]": ...
@overload
def init_with_output(
    f: "TransformedWithCollections[Any, Any]",
) -> "Callable[..., tuple[Any, Variables]]": ...
def init_with_output(f: Any) -> Callable[..., Any]:
    """Returns a function that runs `init` once, and returns what the function returned as well.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True))
    >>> x = jnp.ones([4, 2])
    >>> out, params, state = ps.init_with_output(f)(jax.random.key(0), x)
    >>> out.shape
    (4, 2)

    The variables are those of `init`. The output is that of the same run: it has drawn keys for the
    initial values before its own, so that random numbers in it are others than in `apply`. The
    state is the initial one, as always from `init`.

    Args:
      f: what a transform returned.

    Returns:
      `init(rng, *args, **kwargs)`, which returns `(out, params)` for `transform`,
      `(out, params, state)` for `transform_with_state`, and `(out, variables)` for
      `transform_with_collections`.

    Raises:
      ArgumentError: `f` is something else, or its `init` is compiled.
    """
    init = getattr(f, "init", None)
    if not isinstance(init, PureFunction):
        if hasattr(f, "init"):
            raise ArgumentError(
                "`ps.init_with_output` got a pair whose `init` was compiled or wrapped, and cannot"
                " get the output out of it. Compile what it returns instead:"
                " `jax.jit(ps.init_with_output(ps.transform(f)))`."
            )
        raise ArgumentError(
            f"`ps.init_with_output` takes what a transform returned, but got {kind_of(f)}: write"
            " `ps.init_with_output(ps.transform(f))`."
        )
    return _InitWithOutput(init)


class _InitWithOutput(PureFunction):
    role = "init_with_output"
    leading = ("rng",)
    about = "Returns the result of the function, and the variables that `init` returns."
    _returns = staticmethod(lambda out: tuple[or_any(out), Any])

    def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        results: list[Any] = []

        def body(*args: Any, **kwargs: Any) -> Any:
            results.append(self.program.body(*args, **kwargs))
            return results[-1]

        made = _with_body(self._made_from[0], body)(*args, **kwargs)
        return (results[-1], *(made if isinstance(made, tuple) else (made,)))


def _with_body(pure: PureFunction, body: Callable[..., Any]) -> PureFunction:
    """Returns the same pure function of another body. One that wraps another is wrapped again."""
    kind, made_from = pure.__reduce__()

    def replaced(part: Any) -> Any:
        if isinstance(part, Program):
            return dataclasses.replace(part, body=body)
        return _with_body(part, body) if isinstance(part, PureFunction) else part

    return kind(*map(replaced, made_from))
