"""`purify`: a function that uses the frame, as a pure function for any JAX transform."""

import functools
from collections.abc import Callable
from typing import Any

from purestate._core.collection import Bundle, copy_bundle
from purestate._core.frame import Frame, get_frame
from purestate._core.keys import keys_like
from purestate._lifted.lift_frame import Snapshot, lift_frame, restore

Variables = dict[str, Bundle]
"""`{collection: {module: {name: array}}}`."""


def get_variables() -> Variables:
    """Returns a copy of all variables that there are so far, for a function made by `purify`.

    In `init` the first values of the state come along as "initial", since those are what `init`
    returns.

    >>> import purestate as ps
    >>> ps.transform(ps.get_variables).apply({}, None)
    {'params': {}, 'state': {}}

    Returns:
      `{"params": ..., "state": ...}`, each `{module: {name: array}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.get_variables`")
    variables = {
        name: copy_bundle(collection.values) for name, collection in frame.collections.items()
    }
    if frame.running_init:
        variables["initial"] = copy_bundle(frame.collections["state"].initial or {})
    return variables


def set_variables(variables: Variables) -> None:
    """Takes over variables that a function made by `purify` returned.

    Parameters can be made in `init` only, so in `apply` those given are passed over.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     pure = ps.purify(lambda x: ps.set_state("last", x))
    ...     _, variables = pure(ps.get_variables(), None, x)
    ...     ps.set_variables(variables)
    >>> params, state = ps.transform_with_state(f).init(None, jnp.ones([]))
    >>> float(state["~"]["last"])
    1.0

    Args:
      variables: `{"params": ..., "state": ...}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.set_variables`")
    restore(frame, _snapshot(frame, variables, initial_from_state=True))


def _snapshot(frame: Frame, variables: Variables, *, initial_from_state: bool = False) -> Snapshot:
    """What of `variables` the frame can take over."""
    params = frame.collections["params"]
    state = {
        (name, module): bundle
        for name, bundles in variables.items()
        if name != "initial" and (name != "params" or params.writable)
        for module, bundle in bundles.items()
    }
    initial: Any = {}
    if "initial" in variables:
        initial = {("state", module): bundle for module, bundle in variables["initial"].items()}
    elif initial_from_state:
        initial = state
    given = variables.get("params") if params.creatable and not params.writable else None
    return Snapshot(given, state, initial, None)


def purify(fun: Callable[..., Any]) -> Callable[..., tuple[Any, Variables]]:
    """Returns `fun` as a pure function of variables and a key, for any transform of JAX or of others.

    It reads and changes only the variables it is given. Each call finds the same parameters: the
    names in it begin where they stood when it was first called.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     pure = ps.purify(ps.Linear(2))
    ...     if ps.running_init():
    ...         out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
    ...         ps.set_variables(variables)
    ...     def row(x):
    ...         return pure(ps.get_variables(), None, x)[0]
    ...     return jax.jacrev(row)(x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (2, 3)

    Args:
      fun: a module or function.

    Returns:
      `pure(variables, rng, *args, **kwargs) -> (out, variables)`. The variables are those of
      `get_variables`; pass those that come out on, or to `set_variables`. `rng` is a key, or None.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.purify`")
    pure = lift_frame(fun, frame)

    @functools.wraps(fun)
    def run(variables: Variables, rng: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, Variables]:
        keys_outside = frame.keys
        frame.keys = None if rng is None else keys_like(keys_outside, rng)
        try:
            snapshot = _snapshot(frame, variables)._replace(params=variables.get("params", {}))
            out, after = pure(snapshot, *args, **kwargs)
        finally:
            frame.keys = keys_outside
        found: Variables = {name: {} for name in variables}
        found["params"] = variables.get("params", {}) if after.params is None else after.params
        for (name, module), bundle in after.state.items():
            found.setdefault(name, {})[module] = bundle
        if "initial" in variables:
            found["initial"] = {
                module: bundle
                for (name, module), bundle in (after.initial or {}).items()
                if name == "state"
            }
        return out, found

    return run
