"""`bind`: makes a model of a function, its parameters, state and key."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import jax

from purestate._core.collection import Bundle
from purestate._core.outlines import outline
from purestate._editing.differences import difference
from purestate._editing.trainable import trainable_mask
from purestate._state.transform_with_collections import TransformedWithCollections
from purestate._views.bound_function import PAIRS, Look, bound_function
from purestate._views.errors import ViewError, ViewTypeError
from purestate._views.model import Model, Static, unhashable
from purestate._views.parts import as_bundle

if TYPE_CHECKING:
    from purestate._core.module import Module
    from purestate._core.pairs import (
        Apply,
        ApplyWithState,
        CallableModule,
        Init,
        InitWithState,
        Rng,
        Transformed,
        TransformedWithState,
    )
    from purestate._state.multi_transform import ApplyWithoutRng, ApplyWithStateWithoutRng
    from purestate._state.transform_with_collections import ApplyCollections, InitCollections

    P = ParamSpec("P")
    R = TypeVar("R")

    # What `bind` takes, by the function that the model calls.
    Made = Callable[[], CallableModule[P, R]]
    # A class that has no `__call__`, or cannot be made without arguments.
    AnyMade = type[Module] | Callable[[], Module]
    AnyPair = (
        Transformed[Any, Any]
        | TransformedWithState[Any, Any]
        | TransformedWithCollections[Any, Any]
    )
    Pair = (
        Transformed[Init[P], Apply[P, R]]
        | TransformedWithState[InitWithState[P], ApplyWithState[P, R]]
        | TransformedWithCollections[InitCollections[P], ApplyCollections[P, R]]
    )
    PairWithoutRng = (
        Transformed[Init[P], ApplyWithoutRng[P, R]]
        | TransformedWithState[InitWithState[P], ApplyWithStateWithoutRng[P, R]]
    )


@overload
def bind(
    f: "Pair[P, R]",
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: "Rng" = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[P, R]": ...
@overload
def bind(
    f: "PairWithoutRng[P, R]",
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: "Rng" = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[P, R]": ...
@overload
def bind(
    f: "Made[P, R]",
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: "Rng" = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[P, R]": ...
@overload
def bind(
    f: "AnyPair | AnyMade",
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: "Rng" = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[..., Any]": ...
@overload
def bind(
    f: "Callable[P, R]",
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: "Rng" = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[P, R]": ...
def bind(
    f: Any,
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: Any = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> "Model[..., Any]":
    """Returns a model object of a function, its parameters, state and key.

    It is a pytree, so `jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan` take it. A call updates
    the state and the key of the object. Inside a jitted function such a change is lost unless the
    function returns the model.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Net(ps.Module):
    ...     count = ps.state_attr([], jnp.int32, jnp.zeros)
    ...     def __call__(self, x):
    ...         self.count += 1
    ...         return ps.Linear(1)(x)
    >>> f = ps.transform_with_state(lambda x: Net()(x))
    >>> x = jnp.ones([4, 3])
    >>> model = ps.bind(Net, *f.init(jax.random.key(0), x))
    >>> def loss(params, model, x):
    ...     model = model.update(params)
    ...     return (model(x) ** 2).mean(), model
    >>> grads, model = jax.grad(loss, has_aux=True)(model.parameters(), model, x)
    >>> int(model.count), grads.params["net/linear"]["w"].shape
    (1, (3, 1))

    Args:
      f: what `transform`, `transform_with_state` or `transform_with_collections` returned, or a
        function; or a module class, or a function without arguments that returns a module, whose
        methods and submodules can then be reached.
      params: as `init` returns them; for `transform_with_collections`, all variables. Then a call
        may change all collections that are there, params too.
      state: likewise.
      rng: a key for calls to draw from, an int, a dict of keys by stream, or None.
      specs: what `ps.specs` returned; says which parameters are not trainable.
      strict: whether a plain attribute of the module that cannot be hashed is an error too. One
        that holds an array always is.

    Returns:
      A `Model`.

    Raises:
      ViewError: `specs` are of another function than `params`.
      ViewTypeError: `f` is not a function, `params` or `state` is not a dict, or the module keeps
        an array as a plain attribute.
    """
    if not (callable(f) or isinstance(f, PAIRS)):
        raise ViewTypeError(
            f"`ps.bind` takes a function or a transformed one, but got {outline(f)}."
        )
    for name, value in (("params", params), ("state", state)):
        needed = value is not None or name == "params"
        if needed and not isinstance(value, Mapping):  # pyright: ignore
            raise ViewTypeError(
                f"`ps.bind(f, params, state, rng)`: {name} has to be {{module: {{name: array}}}},"
                f" but it is {outline(value)}."
            )
    own, own_state = _bundles(f, params, state)
    rng = jax.tree.map(lambda key: jax.random.key(key) if isinstance(key, int) else key, rng)
    bound = bound_function(f, own, own_state, rng)
    looked = bound.look(own, own_state, rng) if bound.makes_module else None
    if looked is not None:
        _check_attributes(looked, strict)
    return Model(Static(bound, untrainable=_untrainable(specs, own)), own, own_state, rng)


def _bundles(f: Any, params: Any, state: Any) -> tuple[Bundle, Bundle]:
    """Returns params and state as plain dicts, which the model may change."""
    if not isinstance(f, TransformedWithCollections):
        return as_bundle(params, "params"), as_bundle(state or {}, "state")
    variables = params if state is None else {"params": params, **state}
    bundles = {
        c: as_bundle(b if isinstance(b, Mapping) else {c: b}, repr(c)) for c, b in variables.items()
    }
    return bundles.pop("params", {}), bundles


def _check_attributes(looked: Look, strict: bool) -> None:
    owner = looked.module_class.__name__
    for name in looked.arrays:
        raise ViewTypeError(
            f"{owner} keeps an array as the plain attribute {name!r}. Plain attributes are static"
            " for jax.jit, which cannot compare arrays. Make it state or a parameter:"
            " ps.state_attr, ps.param_attr."
        )
    if strict:
        for name, kind in looked.unhashable:
            raise unhashable(owner, name, kind)


def _untrainable(specs: Any, params: Any) -> frozenset[tuple[str, str]]:
    """Returns module and name of the parameters that specs say not to train."""
    if specs is None:
        return frozenset()
    mask = trainable_mask(specs)
    where = difference(params, mask, ("params", "specs"))
    if where is not None:
        raise ViewError(
            f"`ps.bind`: params and specs are not of one function: {where}. Pass what the same"
            " function gives: f.init(rng, *args) and ps.specs(f)(rng, *args)."
        )
    return frozenset(
        (module, name)
        for module, bundle in mask.items()
        for name, trained in bundle.items()
        if not all(jax.tree.leaves(trained))
    )
