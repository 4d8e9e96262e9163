"""One step of an optax optimizer, with checks that its arrays fit each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._editing.differences import difference, mismatch
from purestate._editing.paths import is_hole
from purestate._views.errors import ViewError, ViewTypeError
from purestate._views.model import Model

if TYPE_CHECKING:
    from purestate._editing.trainable_only import Transformation


def step(
    tx: "Transformation",
    grads: Any,
    opt_state: Any,
    params: Any,
    apply_updates: bool,
    extra: dict[str, Any],
) -> tuple[Any, Any]:
    """Returns the new params, or the updates, and the new state."""
    plain, plain_grads = plain_of(params), plain_of(grads)
    extra = {name: _plain_extra(value, params) for name, value in extra.items()}
    try:
        updates, new_state = tx.update(plain_grads, opt_state, plain, **extra)
    except (TypeError, ValueError) as error:
        _check_state(tx, opt_state, plain_grads if plain is None else plain, error)
        raise
    _check_new_state(opt_state, new_state, plain_grads, plain)
    _check_updates(updates, plain_grads if plain is None else plain)
    if apply_updates:
        return like(params, _updated(plain, updates)), new_state
    return like(grads, updates), new_state


def first_state(tx: "Transformation", params: Any) -> Any:
    """Returns the initial state for params."""
    # Without the weak types that parameters may have: the first step would remove them, and so
    # `jax.jit` would compile twice.
    return jax.tree.map(
        lambda x: jnp.asarray(x, x.dtype) if getattr(x, "weak_type", False) else x,
        tx.init(plain_of(params)),
    )


def size_of(params: Any) -> int:
    """Returns the number of arrays in params."""
    return jax.tree.structure(plain_of(params)).num_leaves


# Models among the params


def _is_model(x: object) -> bool:
    return isinstance(x, Model)


def plain_of(tree: Any) -> Any:
    """Returns a tree with the params of models in their place, as optax and masks need it."""
    return jax.tree.map(lambda x: x.params if _is_model(x) else x, tree, is_leaf=_is_model)


def like(tree: Any, plain: Any) -> Any:
    """The inverse of `plain_of`: returns a tree with models where `tree` has them."""
    if not any(map(_is_model, jax.tree.leaves(tree, is_leaf=_is_model))):
        return plain
    return jax.tree.map(
        lambda x, new: x._with(params=new) if _is_model(x) else new, tree, plain, is_leaf=_is_model
    )


def _plain_extra(value: Any, params: Any) -> Any:
    """Returns an extra argument of `update` without models: a tree, or a function of params."""
    if not callable(value) or _is_model(value):
        return plain_of(value)
    if not any(map(_is_model, jax.tree.leaves(params, is_leaf=_is_model))):
        return value
    f: Callable[..., Any] = value
    return lambda plain, *args, **kwargs: f(like(params, plain), *args, **kwargs)


def _updated(params: Any, updates: Any) -> Any:
    """Adds updates to parameters, in their dtypes. For a hole in either, the parameter stays."""

    def leaf(update: Any, param: Any) -> Any:
        if param is None or update is None:
            return param
        return jnp.asarray(param + update, jnp.asarray(param).dtype)

    return jax.tree.map(leaf, updates, params, is_leaf=is_hole)


# Checks


def check_transformation(tx: object, called: str = "`ps.Optimizer`") -> None:
    """Raises unless `tx` has the methods of an optax optimizer."""
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise ViewTypeError(
            f"{called} takes an optax optimizer, such as optax.adam(1e-3), but got {kind_of(tx)}."
        )


def check_grads(params: Any, grads: Any, apply_updates: bool, size: int | None = None) -> None:
    """Raises unless gradients fit the params, and both fit the size of the optimizer."""
    params, grads = plain_of(params), plain_of(grads)
    given = size_of(grads)
    if size is not None and given != size:
        raise ViewError(
            f"`update`: the optimizer was initialized with {size} arrays, but grads have"
            f" {given}. Call `init` with the params, or that part of them, that the gradients"
            " are of."
        )
    if params is None:
        if apply_updates:
            raise ViewError(
                "`Optimizer.update(grads)` got no params to update. Write `update(grads,"
                " params)`, or `update(grads, apply_updates=False)` to get the updates."
            )
        return
    if jax.tree.structure(params) != jax.tree.structure(grads):
        where = (
            difference(grads, params, ("grads", "params"))
            or "they have holes, None, in different places"
        )
        raise ViewError(f"`update`: grads and params have different structures: {where}.")
    where = mismatch(grads, params, ("grads", "params"))
    if where is not None:
        raise ViewError(
            f"`update`: grads and params do not fit: {where}. Pass the"
            " gradients of these params: grads = jax.grad(loss)(params)."
        )


def _check_state(tx: "Transformation", opt_state: Any, params: Any, error: Exception) -> None:
    """Raises if the state is not one for these params; only asked after `tx.update` has failed."""
    expected = jax.eval_shape(tx.init, params)
    names = ("its state", "a state for these params")
    where = difference(opt_state, expected, names) or mismatch(opt_state, expected, names)
    if where is not None:
        raise _other_params(where) from error


def _other_params(where: str) -> ViewError:
    return ViewError(
        f"`update`: the optimizer was initialized with other params: {where}. Call `init`"
        " with params of these shapes."
    )


def _check_new_state(old: Any, new: Any, grads: Any, params: Any) -> None:
    """Raises if a step changed shapes or dtypes in the state, by broadcasting or promotion."""
    if jax.tree.structure(old) != jax.tree.structure(new):
        return  # such as `trainable_only` with a new mask
    where = mismatch(old, new, ("its state", "the new state"))
    if where is not None:
        raise _other_params(where)
    if params is None or mismatch(grads, params, ("", ""), exact_dtype=True) is None:
        return
    where = mismatch(old, new, ("its state", "the new state"), exact_dtype=True)
    if where is not None:
        raise ViewError(
            "`update`: grads have another dtype than params, which changes the state of"
            f" the optimizer: {where}. Write `grads = jax.tree.map(lambda g, p: g.astype(p.dtype),"
            " grads, params)`; or, for a state in the dtype of grads, call `init` with params of"
            " that dtype."
        )


def _check_updates(updates: Any, params: Any) -> None:
    """Raises if updates would change shapes, or kinds of dtypes, when they are added to params."""
    if difference(updates, params, ("", "")) is None:
        where = mismatch(updates, params, ("the updates", "params"))
        if where is not None:
            raise ViewError(
                f"`update`: the updates do not fit the params: {where}. Call `init` with"
                " these params. Leave out integers with ps.trainable_only, since an optimizer"
                " moves them by fractions."
            )
