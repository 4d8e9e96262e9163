"""Why JAX traces a function again: what changed from one trace to the next."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.tree_util as jtu

from purestate._core import compiled, trace_guard
from purestate._core.config import get_config
from purestate._core.errors import ArgumentError, RetraceError
from purestate._core.outlines import check_function, outline_argument

P = ParamSpec("P")
R = TypeVar("R")

NOTHING = "nothing"

_jax_config: Any = jax.config  # its settings are not in its type


class Retrace(NamedTuple):
    """A trace of a function that was traced before.

    Attributes:
      function: its name.
      number: 2 for the second trace.
      changes: the differences from the earlier trace that was most like this one, each with its
        place and both values, such as `("x", "float32[4,3]", "float32[5,3]")`.
    """

    function: str
    number: int
    changes: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        if not self.changes:
            return (
                f"Trace {self.number} of {self.function}: its arguments, the settings of JAX and"
                " the blocks of purestate are as before. Was it compiled again, by jax.jit in"
                " a loop or of a new function, or were JAX's caches cleared? Call jax.jit(f) once,"
                " and keep the function that it returns."
            )
        lines = "".join(f"\n  {where}: {was} -> {now}" for where, was, now in self.changes)
        return f"Trace {self.number} of {self.function}. What changed:{lines}"


def explain_retrace(f: Callable[P, R], tell: Callable[[Retrace], Any] = print) -> Callable[P, R]:
    """Returns `f` for `jax.jit`, so that it says why JAX traces it again.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([4, 3]))
    >>> apply = jax.jit(ps.explain_retrace(f.apply))
    >>> for batch in (4, 4, 5):
    ...     out = apply(params, None, jnp.ones([batch, 3]))
    Trace 2 of lambda_apply. What changed:
      x: float32[4,3] -> float32[5,3]

    A trace is compared with the earlier one that is most like it: the shape, dtype, weak type and
    sharding of each array, the values of static arguments, the settings of JAX, the mesh, and the
    blocks of purestate, such as `ps.freeze`. Calls without `jax.jit` do not count.

    Args:
      f: a function that is not compiled yet.
      tell: what to call with each `Retrace`: `print`, or `logging.warning`.

    Returns:
      The same function.

    Raises:
      ArgumentError: `f` is compiled already, or is not a function.
    """
    return _watched("explain_retrace", f, tell)


def assert_max_traces(f: Callable[P, R], n: int) -> Callable[P, R]:
    """Returns `f` for `jax.jit`, so that it raises an error where JAX traces it too often.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> double = jax.jit(ps.assert_max_traces(lambda x: 2 * x, 1))
    >>> int(double(jnp.ones([2], int))[0])
    2
    >>> double(jnp.ones([3], int))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    RetraceError: ... x: int32[2] -> int32[3]

    Args:
      f: a function that is not compiled yet.
      n: how many traces are allowed, 1 or more.

    Returns:
      The same function. It raises `RetraceError` in trace `n + 1`, which says what changed; see
      `explain_retrace`.

    Raises:
      ArgumentError: `f` is compiled already, or is not a function; `n` is not a positive int.
    """
    if n.__class__ is not int or n < 1:
        raise ArgumentError(
            "`ps.assert_max_traces(f, n)` takes the number of traces that are allowed, 1 or more,"
            f" but n={outline_argument(n)}."
        )

    def check(retrace: Retrace) -> None:
        if retrace.number > n:
            raise RetraceError(
                f"{retrace}\n`ps.assert_max_traces` allows {n}. Give it equal arguments, such as"
                f" batches that are padded to one shape, or allow {retrace.number}."
            )

    return _watched("assert_max_traces", f, check)


def _watched(name: str, f: Callable[P, R], tell: Callable[[Retrace], Any]) -> Callable[P, R]:
    if hasattr(f, "init") and hasattr(f, "apply"):
        raise ArgumentError(
            f"`ps.{name}` got a pair of functions. Give it one of the two: ps.{name}(f.apply, ...)."
        )
    check_function(f"ps.{name}(f)", f)
    if hasattr(f, "lower") and hasattr(f, "clear_cache"):
        raise ArgumentError(
            f"`ps.{name}` got a function that is compiled already, and cannot see its traces. Wrap"
            f" the plain function, and compile what comes out: jax.jit(ps.{name}(f, ...))."
        )
    seen: list[dict[str, str]] = []

    @functools.wraps(f)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if trace_guard.staging_trace() is not None:
            now = _facts(f, args, kwargs)
            if seen:
                changes = min((_changes(before, now) for before in reversed(seen)), key=len)
                tell(Retrace(getattr(f, "__name__", repr(f)), len(seen) + 1, changes))
            seen.append(now)
        return f(*args, **kwargs)

    return run


def _changes(before: dict[str, str], now: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (path, before.get(path, NOTHING), now.get(path, NOTHING))
        for path in {**now, **before}
        if before.get(path) != now.get(path)
    )


def _facts(f: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, str]:
    """Returns what a trace depends on, each with a name."""
    try:
        bound = inspect.signature(f).bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: Any = dict(bound.arguments)
    except (TypeError, ValueError):
        arguments = {**{f"args[{i}]": value for i, value in enumerate(args)}, **kwargs}
    facts: dict[str, str] = {}
    for name, value in arguments.items():
        for path, leaf in jtu.tree_leaves_with_path(value, is_leaf=lambda x: x is None):
            facts[name + jtu.keystr(path)] = _described(leaf)
    for setting in _jax_config.values:
        facts[setting] = repr(getattr(_jax_config, setting, None))
    mesh = jax.sharding.get_abstract_mesh()
    facts["the mesh"] = NOTHING if mesh.empty else str(mesh)
    for what, value in compiled.parts():
        if what in ("hooks", "lasting hooks"):
            facts[f"purestate's {what}"] = ", ".join(_hook(key) for _, key in value) or NOTHING
        elif what != "settings":
            facts[f"purestate's {what}"] = repr(value)
    for name, value in dataclasses.asdict(get_config()).items():
        facts[f"ps.config's {name}"] = repr(value)
    return facts


def _hook(key: Any) -> str:
    """Shows the key of a hook, such as `freeze('*')`."""
    if isinstance(key, tuple) and key and isinstance(key[0], str):
        options = ", ".join(repr(part) for part in key[1:] if part not in ("", None))
        return f"{key[0]}({options})"
    return getattr(key, "__name__", None) or repr(key)


def _described(leaf: Any) -> str:
    if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
        return outline_argument(leaf)
    text = str(jax.typeof(leaf))  # with the sharding over a mesh with explicit axes
    return f"{text[1:]}, weakly typed" if text.startswith("~") else text
