"""`trainable_only`: an optimizer of some parameters, which leaves the others as they are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import ShapeMismatchError, kind_of
from purestate._editing.differences import difference, mismatch, shape_of
from purestate._editing.errors import BundleError
from purestate._editing.paths import is_hole, named_leaves, path_string
from purestate._editing.trainable import has_specs, trainable_mask


class Optimizer(NamedTuple):
    """What optax calls a gradient transformation."""

    init: Callable[..., Any]
    update: Callable[..., Any]


if TYPE_CHECKING:

    class Transformation(Protocol):  # any optimizer of optax, and whatever is like one
        @property
        def init(self) -> Callable[..., Any]: ...
        @property
        def update(self) -> Callable[..., Any]: ...

    class _NamedPair(Transformation, Protocol):  # such as optax's GradientTransformation
        def _replace(self, **kwargs: Any) -> Any: ...

    N = TypeVar("N", bound=_NamedPair)


@overload
def trainable_only(tx: "N", mask: Any) -> "N": ...
@overload
def trainable_only(tx: "Transformation", mask: Any) -> Any: ...
def trainable_only(tx: Any, mask: Any) -> Any:
    """Makes an optimizer update some parameters only; the others keep their bits.

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

    The gradients of frozen parameters do not matter. (`optax.masked` would return them as updates.)
    In an `optax.chain` it comes last: a transform after it would change the updates of all
    parameters. Transforms of several arrays, such as clipping by the global norm, belong inside
    `tx`. There they see only trained parameters.

    To train more parameters later, make another one with the new mask, and keep the old state. The
    first `update` initializes what the state lacks with `tx.init`, and keeps the rest. To train
    fewer, it drops the state that is no longer needed. Either changes the structure of the state,
    so `jax.jit` compiles again, and it cannot happen inside `jax.lax.scan`.

    Functions in `**extra`, such as the `value_fn` of `optax.lbfgs`, get whole params. Functions of
    optax that take params and the state, such as `optax.contrib.schedule_free_eval_params` and
    `optax.value_and_grad_from_state`, need the trained part: `ps.surgery.partition_with_path` and
    `ps.partition_trainable` split it off, and `ps.surgery.combine` is the inverse.

    Args:
      tx: an optax optimizer, or any pair of `init(params)` and `update(grads, state, params)`.
      mask: which parameters to train: a tree of bools (or a prefix of one), a function of the
        params that returns one, a `Predicate`, or what `ps.specs` returned.

    Returns:
      An optimizer of the same type as `tx`. Its state is the state of `tx`, with holes. Frozen
      parameters have an update of negative zero, which changes no number that it is added to.

    Raises:
      BundleError: from `init` and `update`: the mask does not fit the params, a gradient is
        missing, or `update` needs the params and did not get them.
      ShapeMismatchError: from `update`: a gradient, or an array of the state, does not have the
        shape of its parameter, or a gradient is of another kind (float, integer, complex).
    """
    one = _TrainableOnly(tx, trainable_mask(mask) if has_specs(mask) else mask)
    if hasattr(tx, "_replace"):
        return tx._replace(init=one.init, update=one.update)
    return Optimizer(one.init, one.update)


class _TrainableOnly:
    """`init` and `update` of an optimizer of some parameters; pickled if `tx` and `mask` can be."""

    def __init__(self, tx: "Transformation", mask: Any):
        self._tx = tx
        self._mask = mask
        # The state that `tx.init` makes, as shapes, by structure, shapes and dtypes of the params.
        self._expected: dict[Any, Any] = {}

    def __getstate__(self) -> Any:
        return self._tx, self._mask

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)

    def init(self, params: Any) -> Any:
        return self._tx.init(_selected(params, self._chosen(params)))

    def update(self, grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        whole = grads if params is None else params
        chosen = self._chosen(whole)
        _check_grads(grads, whole, chosen)
        held = _selected(whole, chosen)
        state = self._fitted(state, held, whole, params is not None)
        for name, value in extra.items():
            extra[name] = _selected_extra(value, grads, params, chosen)
        trained = _selected(grads, chosen)
        updates, new_state = self._tx.update(
            trained, state, None if params is None else held, **extra
        )
        if mismatch(trained, held, ("", ""), exact_dtype=True) is not None:
            _check_dtypes(state, new_state)
        return _filled(updates, whole, chosen), new_state

    def _chosen(self, params: Any) -> list[bool]:
        return _flags(self._mask(params) if callable(self._mask) else self._mask, params)

    def _fitted(self, state: Any, held: Any, whole: Any, has_params: bool) -> Any:
        """Returns the state, or one made from it if it belongs to another mask."""
        key = (
            jax.tree.structure(held),
            tuple((shape_of(x), jnp.result_type(x)) for x in jax.tree.leaves(held)),
        )
        if key not in self._expected:
            self._expected[key] = jax.eval_shape(self._tx.init, held)
        expected = self._expected[key]
        if jax.tree.structure(state) == jax.tree.structure(expected):
            where = mismatch(state, expected, ("the state", "a state for these params"))
            if where is not None:
                raise ShapeMismatchError(
                    f"trainable_only: the state is not one of these params: {where}. Pass the"
                    " state that `tx.init(params)`, or the last `tx.update`, returned for params of"
                    " these shapes."
                )
            return state
        if not has_params:
            raise BundleError(
                "trainable_only: the state belongs to another mask. To initialize what it lacks,"
                " `update` needs the params: tx.update(grads, state, params)."
            )
        names = [name for name, _ in named_leaves(jax.eval_shape(self._tx.init, whole))]
        return _refitted(state, self._tx.init(held), names)


def _check_grads(grads: Any, params: Any, chosen: list[bool]) -> None:
    where = difference(grads, params, ("grads", "params"))
    if where is not None:
        raise BundleError(f"trainable_only: grads and params differ in structure: {where}.")
    for (name, grad), (_, param), train in zip(
        named_leaves(grads, holes=True), named_leaves(params, holes=True), chosen, strict=True
    ):
        if train and grad is None and param is not None:
            raise BundleError(f"trainable_only: {name!r} is trained, but has no gradient.")
    where = mismatch(_selected(grads, chosen), params, ("grads", "params"))
    if where is not None:
        raise ShapeMismatchError(
            f"trainable_only: grads and params do not fit: {where}. Pass the gradients of these"
            " params: grads = jax.grad(loss)(params)."
        )


def _check_dtypes(state: Any, new_state: Any) -> None:
    """Raises if gradients of another dtype than their params change dtypes in the state."""
    if jax.tree.structure(state) != jax.tree.structure(new_state):
        return
    where = mismatch(state, new_state, ("the state", "the new state"), exact_dtype=True)
    if where is not None:
        raise ShapeMismatchError(
            "trainable_only: grads have another dtype than params, which changes the state:"
            f" {where}. Write `grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads,"
            " params)`."
        )


def _flags(mask: Any, params: Any) -> list[bool]:
    """Returns a bool for each leaf of the params. Holes count as leaves."""
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


def _selected_extra(value: Any, grads: Any, params: Any, chosen: list[bool]) -> Any:
    """Returns an extra argument of `update` as `tx` needs it.

    A second tree of gradients loses its frozen parts; a function of params gets them back.
    """
    structure = jax.tree.structure(grads, is_leaf=is_hole)
    if callable(value) and params is not None:
        return _WithFrozen(value, params, chosen)
    if structure.num_leaves > 1 and jax.tree.structure(value, is_leaf=is_hole) == structure:
        return _selected(value, chosen)
    return value


class _WithFrozen:
    """A function of whole params, as a function of the trained part."""

    def __init__(self, f: Callable[..., Any], params: Any, chosen: list[bool]):
        self._f = f
        self._leaves, self._treedef = jax.tree.flatten(params, is_leaf=is_hole)
        self._chosen = chosen

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args and jax.tree.structure(args[0], is_leaf=is_hole) == self._treedef:
            given = jax.tree.leaves(args[0], is_leaf=is_hole)
            zipped = zip(given, self._leaves, self._chosen, strict=True)
            whole = [leaf if train else frozen for leaf, frozen, train in zipped]
            args = (self._treedef.unflatten(whole), *args[1:])
        return self._f(*args, **kwargs)


def _refitted(state: Any, fresh: Any, names: list[str]) -> Any:
    """Returns a fresh state with the values of an old one, of another mask, in the same places."""
    old = dict(named_leaves(state))
    other = [name for name in old if name not in names]
    if other and not any(name in old for name, _ in named_leaves(fresh)):
        raise BundleError(
            f"trainable_only: the state has {other[0]!r}, so it belongs to another optimizer. Start"
            " with tx.init(params)."
        )
    if other:
        raise BundleError(
            f"trainable_only: the state has {other[0]!r}, and these params have no such variable."
            " If it was deleted or renamed, do the same to the state:"
            " ps.surgery.delete((params, state), path), ps.surgery.rename((params, state), old,"
            " new)."
        )

    def keep(path: Any, leaf: Any) -> Any:
        before = old.get(path_string(path), leaf)
        if shape_of(before) != shape_of(leaf):
            raise BundleError(
                f"trainable_only: {path_string(path)!r} in the state has shape {shape_of(before)},"
                f" but the new mask needs {shape_of(leaf)}. Either the optimizer keeps all"
                " parameters in one array, or these are other params. Start with a new state,"
                " tx.init(params)."
            )
        return before

    return jax.tree_util.tree_map_with_path(keep, fresh)


def _filled(updates: Any, whole: Any, chosen: list[bool]) -> Any:
    """Returns updates for all parameters."""
    leaves, treedef = jax.tree.flatten(whole, is_leaf=is_hole)
    new = jax.tree.leaves(updates, is_leaf=is_hole)
    zipped = zip(leaves, new, chosen, strict=True)
    return treedef.unflatten(
        [update if train else _no_update(leaf) for leaf, update, train in zipped]
    )


def _no_update(leaf: Any) -> Any:
    """Returns -0, which changes no bit of an array that it is added to. +0 turns -0 into +0."""
    if leaf is None:
        return None
    dtype = jnp.result_type(leaf)
    if dtype == jax.dtypes.float0:  # the gradient of an integer
        return np.zeros(shape_of(leaf), bool)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.full(shape_of(leaf), complex(-0.0, -0.0), dtype)
    return jnp.full(shape_of(leaf), -0.0 if jnp.issubdtype(dtype, jnp.floating) else 0, dtype)
