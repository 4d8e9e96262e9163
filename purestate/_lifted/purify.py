"""`purify`: a function that uses the frame, as a pure function for any JAX transform."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from purestate._core.collection import Bundle, copy_bundle
from purestate._core.frame import Frame, FrameKeys, get_frame
from purestate._core.keys import keys_for
from purestate._core.pairs import Rng
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Snapshot, Values, keep, take_snapshot

P = ParamSpec("P")
R = TypeVar("R")

Variables = dict[str, Bundle]
"""`{collection: {module: {name: array}}}`."""

_INITIAL = "initial"


def get_variables() -> Variables:
    """Returns a copy of all variables that there are so far, for a function made by `purify`.

    In `init` the initial values of the state come along as "initial", since `init` returns those:
    `{module: {name: array}}`, or one such dict for each collection under
    `transform_with_collections`.

    >>> import purestate as ps
    >>> ps.transform(ps.get_variables).apply({}, None)
    {'params': {}, 'state': {}}

    Returns:
      `{"params": ..., "state": ...}`, each `{module: {name: array}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.get_variables`")
    variables = {name: copy_bundle(kept.values) for name, kept in frame.collections.items()}
    if frame.running_init:
        variables["initial"] = _from_initial(frame, take_snapshot(frame).initial)
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
    values, initial = _split(frame, variables)
    collections = frame.collections
    # A pure function returns all that it was given, parameters too, which only `init` may make.
    may_change = {
        name: bundle
        for name, bundle in values.items()
        if name not in collections or collections[name].changes
    }
    keep(frame, Snapshot(may_change, initial or may_change, None))


def _split(frame: Frame, variables: Variables) -> tuple[Values, Values]:
    """Returns the values and the initial values of variables, in the form of a snapshot."""
    values = {name: bundle for name, bundle in variables.items() if name != _INITIAL}
    # Users see initial values in the form that `init` returns: one state, or one per collection.
    initial: Any = variables.get(_INITIAL, {})
    if initial and not frame.layout.by_collection:
        initial = {"state": initial}
    return values, initial


def _from_initial(frame: Frame, initial: Values) -> Any:
    """Returns initial values in the form that users see, the inverse of what `_split` does."""
    return initial if frame.layout.by_collection else initial.get("state", {})


def purify(
    fun: "Callable[P, R]",
) -> "Callable[Concatenate[Variables, Rng, P], tuple[R, Variables]]":
    """Returns `fun` as a pure function of variables and a key, for any JAX transform.

    It reads and changes only the variables it is given, and drops values that are sown inside.
    Each call finds the same parameters: the names in it begin as they did when it was first
    called.

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
    lifted = Lifted(fun, frame)

    @functools.wraps(fun)
    def run(variables: Variables, rng: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, Variables]:
        values, initial = _split(frame, variables)
        # Nothing comes by closure: a collection that is not given is empty.
        values = {**{name: {} for name in frame.collections}, **values}
        # The key is an argument too, and no key means that none may be drawn.
        outside, mode = frame.keys, frame.keys.mode
        frame.keys = FrameKeys(None if rng is None else keys_for(rng, mode), mode)
        try:
            out, after, _ = lifted.run(Snapshot(values, initial, None), *args, **kwargs)
        finally:
            frame.keys = outside
        # Returned are the collections that were given, so that a loop can carry them; the params;
        # and those that the function has begun.
        found: Variables = {
            name: copy_bundle(after.values.get(name, bundle))
            for name, bundle in {**values, **after.values}.items()
            if name in variables or name == "params" or after.values.get(name)
        }
        if _INITIAL in variables:
            found[_INITIAL] = _from_initial(frame, after.initial)
        return out, found

    return run
