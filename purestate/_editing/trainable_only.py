"""`trainable_only`: an optimizer that neither changes frozen parameters nor keeps anything for them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import kind_of
from purestate._editing.errors import BundleError
from purestate._editing.paths import difference, is_hole, named_leaves, path_string, shape_of
from purestate._editing.trainable import has_specs, trainable_mask


class Optimizer(NamedTuple):
    """What optax calls a gradient transformation."""

    init: Callable[..., Any]
    update: Callable[..., Any]


def trainable_only(tx: Any, mask: Any) -> Any:
    """Makes an optimizer work on some parameters alone. The others stay bit for bit as they are, whatever their gradients.

    >>> import jax, jax.numpy as jnp, optax, purestate as ps
    >>> params = {"linear": {"w": jnp.ones([2]), "b": jnp.ones([1])}}
    >>> tx = ps.trainable_only(optax.adamw(0.1, weight_decay=0.1), ps.surgery.glob("*/w"))
    >>> state = tx.init(params)
    >>> updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
    >>> params = optax.apply_updates(params, updates)
    >>> params["linear"]["w"].tolist(), params["linear"]["b"].tolist()
    ([0.9900000095367432, 0.9900000095367432], [1.0])
    >>> optax.tree.get(state, "mu")
    {'linear': {'b': None, 'w': Array([0., 0.], dtype=float32)}}

    (`optax.masked` would pass on the gradients of the others as their updates.) In an `optax.chain`
    it has to come last, since what comes after it changes the updates of all parameters; transforms
    of several arrays, as clipping by the global norm, go into `tx` with the others, so that they
    see trained parameters only.

    To train more later, make another one with the new mask and go on with the old state: the first
    `update` makes what is missing by `tx.init`, and keeps the rest, so that what was trained all
    along goes on as if nothing had happened. To train less, it drops what is no longer needed. As
    this changes the structure of the state, `jax.jit` compiles again, and it cannot happen inside
    `jax.lax.scan`.

    Args:
      tx: an optax optimizer, or any pair of `init(params)` and `update(grads, state, params)`.
      mask: which parameters to train: a tree of bools (or a prefix of one), a function of the
        params that returns one, a `Predicate`, or what `ps.specs` gave.

    Returns:
      An optimizer of the same type as `tx`. Its state is that of `tx`, with holes. The updates of
      other parameters are negative zero, the number that changes none when it is added.

    Raises:
      BundleError: from `init` and `update`, if the mask does not fit the params, a gradient is
        missing, or `update` needs the params and was not given them.
    """
    if has_specs(mask):
        mask = trainable_mask(mask)
    expected: dict[
        Any, Any
    ] = {}  # the structure of the state for params of some structure, shapes and dtypes

    def selects(params: Any) -> list[bool]:
        return _flags(mask(params) if callable(mask) else mask, params)

    def init(params: Any) -> Any:
        return tx.init(_selected(params, selects(params)))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        whole = grads if params is None else params
        chosen = selects(whole)
        where = difference(grads, whole, ("grads", "params"))
        if where is not None:
            raise BundleError(f"trainable_only: grads and params differ in structure: {where}.")
        for (name, grad), (_, param), train in zip(
            named_leaves(grads, holes=True), named_leaves(whole, holes=True), chosen, strict=True
        ):
            if train and grad is None and param is not None:
                raise BundleError(
                    f"trainable_only: {name!r} is to be trained, and has no gradient."
                )
        held = _selected(whole, chosen)
        key = (
            jax.tree.structure(held),
            tuple((shape_of(x), jnp.result_type(x)) for x in jax.tree.leaves(held)),
        )
        if key not in expected:
            expected[key] = jax.tree.structure(jax.eval_shape(tx.init, held))
        if jax.tree.structure(state) != expected[key]:
            if params is None:
                raise BundleError(
                    "trainable_only: the state is that of another mask. To make what is missing in"
                    " it, `update` needs the params: tx.update(grads, state, params)."
                )
            names = [name for name, _ in named_leaves(jax.eval_shape(tx.init, whole))]
            state = _refitted(state, tx.init(held), names)
        structure = jax.tree.structure(grads, is_leaf=is_hole)
        for name, value in extra.items():  # such as another tree of gradients
            if jax.tree.structure(value, is_leaf=is_hole) == structure and structure.num_leaves > 1:
                extra[name] = _selected(value, chosen)
        updates, state = tx.update(
            _selected(grads, chosen),
            state,
            None if params is None else _selected(params, chosen),
            **extra,
        )
        return _filled(updates, whole, chosen), state

    if hasattr(tx, "_replace"):
        return tx._replace(init=init, update=update)
    return Optimizer(init, update)


def _flags(mask: Any, params: Any) -> list[bool]:
    """Returns a bool for each leaf of the params, holes being leaves."""
    if has_specs(mask):
        mask = trainable_mask(mask)
    found: list[bool] = []

    def spread(flag: Any, part: Any) -> None:
        if flag is not None and not jnp.issubdtype(jnp.result_type(flag), jnp.bool_):
            raise BundleError(
                f"trainable_only: a mask is of bools, but this one has {kind_of(flag)} in it."
            )
        found.extend([bool(flag)] * len(jax.tree.leaves(part, is_leaf=is_hole)))

    try:
        jax.tree.map(spread, mask, params, is_leaf=is_hole)
    except BundleError:
        raise
    except ValueError:
        where = difference(mask, params, ("the mask", "params"))
        raise BundleError(f"trainable_only: the mask does not fit the params: {where}.") from None
    return found


def _selected(tree: Any, chosen: list[bool]) -> Any:
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_hole)
    return treedef.unflatten(
        [leaf if keep else None for leaf, keep in zip(leaves, chosen, strict=True)]
    )


def _refitted(state: Any, fresh: Any, names: list[str]) -> Any:
    """Returns a fresh state with all that an old one, of another mask, has for the same places."""
    old = dict(named_leaves(state))
    other = [name for name in old if name not in names]
    if other and not any(name in old for name, _ in named_leaves(fresh)):
        raise BundleError(
            f"trainable_only: the state has {other[0]!r}, so it is that of another optimizer. Begin"
            " with tx.init(params)."
        )

    def keep(path: Any, leaf: Any) -> Any:
        before = old.get(path_string(path), leaf)
        if shape_of(before) != shape_of(leaf):
            raise BundleError(
                f"trainable_only: {path_string(path)!r} in the state has shape {shape_of(before)},"
                f" and has to have {shape_of(leaf)} for the new mask. The optimizer keeps all"
                " parameters in one array, or these are other params: begin with a new state,"
                " tx.init(params)."
            )
        return before

    return jax.tree_util.tree_map_with_path(keep, fresh)


def _filled(updates: Any, whole: Any, chosen: list[bool]) -> Any:
    """Returns updates without holes, where the params have none."""
    leaves, treedef = jax.tree.flatten(whole, is_leaf=is_hole)
    new = jax.tree.leaves(updates, is_leaf=is_hole)
    return treedef.unflatten([
        update if train else _nothing_for(leaf) for leaf, update, train in zip(leaves, new, chosen, strict=True)
    ])  # fmt: skip


def _nothing_for(leaf: Any) -> Any:
    """Returns what leaves an array as it is when added to it. That is -0: +0 would turn -0 into +0."""
    if leaf is None:
        return None
    dtype = jnp.result_type(leaf)
    if dtype == jax.dtypes.float0:  # the gradient of an integer
        return np.zeros(shape_of(leaf), bool)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.full(shape_of(leaf), complex(-0.0, -0.0), dtype)
    return jnp.full(shape_of(leaf), -0.0 if jnp.issubdtype(dtype, jnp.floating) else 0, dtype)
