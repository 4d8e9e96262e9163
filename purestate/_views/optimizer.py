"""`Optimizer`: an optax optimizer that keeps its own state, inside a transformed function and outside."""

from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._core.frame import inside_transform
from purestate._core.module import Module
from purestate._core.variables import get_state, set_state
from purestate._editing.paths import difference
from purestate._state.named_variables import has_state
from purestate._views.errors import ViewError, ViewTypeError
from purestate._views.model import Model


def _updated(params: Any, updates: Any) -> Any:
    """Adds updates to parameters, in their dtypes; holes stay, and where there is no update the parameter does."""

    def leaf(update: Any, param: Any) -> Any:
        if param is None or update is None:
            return param
        return jnp.asarray(param + update, jnp.asarray(param).dtype)

    return jax.tree.map(leaf, updates, params, is_leaf=lambda x: x is None)


def _is_model(x: Any) -> bool:
    return isinstance(x, Model)


def _plain(tree: Any) -> Any:
    """Returns a tree with plain params for models: what a model is made of is no concern of optax, nor are masks models."""
    return jax.tree.map(lambda x: x.params if _is_model(x) else x, tree, is_leaf=_is_model)


def _like(tree: Any, plain: Any) -> Any:
    """The inverse of `_plain`: models where `tree` has them."""
    if not any(map(_is_model, jax.tree.leaves(tree, is_leaf=_is_model))):
        return plain
    return jax.tree.map(
        lambda x, new: x._with(params=new) if _is_model(x) else new, tree, plain, is_leaf=_is_model
    )


def _step(
    tx: Any, grads: Any, opt_state: Any, params: Any, apply_updates: bool, extra: dict[str, Any]
) -> tuple[Any, Any]:
    """Returns the new params, or the updates, and the new state."""
    plain = _plain(params)
    updates, opt_state = tx.update(_plain(grads), opt_state, plain, **extra)
    if apply_updates:
        return _like(params, _updated(plain, updates)), opt_state
    return _like(grads, updates), opt_state


def _first_state(tx: Any, params: Any) -> Any:
    # Without the weak types that parameters may have: the first step takes them away, and would be
    # traced again for that.
    return jax.tree.map(
        lambda x: jnp.asarray(x, x.dtype) if getattr(x, "weak_type", False) else x,
        tx.init(_plain(params)),
    )


def _check(params: Any, grads: Any, apply_updates: bool, size: int | None = None) -> None:
    params, grads = _plain(params), _plain(grads)
    given = jax.tree.structure(grads).num_leaves
    if size is not None and given != size:
        raise ViewError(
            f"`Optimizer.update`: the optimizer was initialized with {size} arrays, but grads have"
            f" {given}. Call `init` with the params, or that part of them, that the gradients"
            " are of."
        )
    if params is None:
        if apply_updates:
            raise ViewError(
                "`Optimizer.update(grads)` was given no params to update. Write `update(grads,"
                " params)`, or `update(grads, apply_updates=False)` for the updates alone."
            )
        return
    if jax.tree.structure(params) != jax.tree.structure(grads):
        where = (
            difference(grads, params, ("grads", "params"))
            or "they have holes, None, in different places"
        )
        raise ViewError(
            "`Optimizer.update(grads, params)`: grads and params have different structures:"
            f" {where}."
        )


def _check_transformation(tx: Any) -> None:
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise ViewTypeError(
            "`ps.Optimizer` takes an optax optimizer, such as optax.adam(1e-3), but got"
            f" {kind_of(tx)}."
        )


class OptimizerModule(Module):
    """An `Optimizer` inside a transformed function: its state is one entry, `opt_state`."""

    def __init__(self, tx: Any, name: str | None = None):
        super().__init__(name=name or "optimizer")
        _check_transformation(tx)
        self.tx = tx

    def init(self, params: Any) -> "OptimizerModule":
        """Makes the state for `params`, if there is none yet.

        Args:
          params: what is to be optimized.

        Returns:
          The module itself.
        """
        if not has_state("opt_state"):
            set_state("opt_state", _first_state(self.tx, params))
        return self

    def update(
        self, grads: Any, params: Any = None, apply_updates: bool = True, **extra: Any
    ) -> Any:
        """Takes a step, and keeps the new state.

        Args:
          grads: the gradients.
          params: what they are the gradients of.
          apply_updates: whether to return the new params, and not the updates alone.
          **extra: for optimizers that take more, such as `value=loss`.

        Returns:
          The new params, or the updates.

        Raises:
          ViewError: there is nothing to begin with, or `grads` and `params` do not fit.
        """
        _check(params, grads, apply_updates)
        if not has_state("opt_state"):
            if params is None:
                raise ViewError(
                    f"The optimizer {self.module_name!r} has no state yet: call `init(params)`, or"
                    " give `update` the params."
                )
            set_state("opt_state", _first_state(self.tx, params))
        out, opt_state = _step(self.tx, grads, get_state("opt_state"), params, apply_updates, extra)
        set_state("opt_state", opt_state)
        return out


@jax.tree_util.register_pytree_with_keys_class
class Optimizer:
    """An optax optimizer with its state.

    Outside a transformed function it is a pytree that never changes:

    >>> import jax, jax.numpy as jnp, optax, purestate as ps
    >>> params = {"linear": {"w": jnp.array([1.0, 2.0])}}
    >>> opt = ps.Optimizer(optax.sgd(0.1)).init(params)
    >>> params, opt = opt.update({"linear": {"w": jnp.array([1.0, 0.0])}}, params)
    >>> [round(float(x), 4) for x in params["linear"]["w"]]
    [0.9, 2.0]

    Inside one it is a module that updates itself, and whose state is one entry:

    >>> def step(grads, params):
    ...     return ps.Optimizer(optax.adam(0.1)).update(grads, params)
    >>> f = ps.transform_with_state(step)
    >>> _, state = f.init(None, params, params)
    >>> list(state["optimizer"])
    ['opt_state']
    >>> params, state = f.apply({}, state, None, params, params)

    Args:
      tx: an optax optimizer, or anything with its `init` and `update`.
      name: inside a transformed function, the name of the module.

    Attributes:
      tx: the optax optimizer.
      opt_state: its state; None before `init`.

    Raises:
      ViewTypeError: `tx` is none.
    """

    __slots__ = ("_size", "opt_state", "tx")

    def __new__(cls, tx: Any, name: str | None = None) -> Any:
        if inside_transform():
            return OptimizerModule(tx, name)
        return super().__new__(cls)

    def __init__(self, tx: Any, name: str | None = None):
        del name
        _check_transformation(tx)
        self.tx = tx
        self.opt_state: Any = None
        self._size: int | None = None  # how many arrays it was initialized with

    def init(self, params: Any) -> "Optimizer":
        """Returns an optimizer with the state for `params`.

        Args:
          params: what is to be optimized: any pytree. Of a model that is its parameters.

        Returns:
          A new optimizer.
        """
        return _made(
            self.tx, _first_state(self.tx, params), jax.tree.structure(_plain(params)).num_leaves
        )

    def update(
        self, grads: Any, params: Any = None, apply_updates: bool = True, **extra: Any
    ) -> tuple[Any, "Optimizer"]:
        """Returns what a step gives: the new params (or the updates alone), and a new optimizer.

        Args:
          grads: the gradients.
          params: what they are the gradients of.
          apply_updates: whether to return the new params, and not the updates alone.
          **extra: for optimizers that take more, such as `value=loss`.

        Returns:
          `(params, optimizer)`, or `(updates, optimizer)`.

        Raises:
          ViewError: `init` was not called, or `grads` and `params` do not fit.
        """
        if self._size is None:
            raise ViewError(
                "This Optimizer has no state yet. Write `opt = ps.Optimizer(tx).init(params)`"
                " first."
            )
        _check(params, grads, apply_updates, self._size)
        out, opt_state = _step(self.tx, grads, self.opt_state, params, apply_updates, extra)
        return out, _made(self.tx, opt_state, self._size)

    def tree_flatten_with_keys(self) -> Any:
        """See `jax.tree_util.register_pytree_with_keys_class`."""
        return ((jax.tree_util.GetAttrKey("opt_state"), self.opt_state),), (self.tx, self._size)

    def tree_flatten(self) -> Any:
        """See `jax.tree_util.register_pytree_node_class`."""
        return (self.opt_state,), (self.tx, self._size)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Optimizer":
        """See `jax.tree_util.register_pytree_node_class`."""
        return _made(static[0], children[0], static[1])

    def __reduce__(self) -> Any:
        return _made, (self.tx, self.opt_state, self._size)

    def __repr__(self) -> str:
        return (
            f"Optimizer({self.tx!r},"
            f" {'without a state' if self._size is None else f'of {self._size} arrays'})"
        )


def _made(tx: Any, opt_state: Any, size: int | None) -> Optimizer:
    # Not by a call: inside a transformed function that would make a module.
    optimizer: Any = object.__new__(Optimizer)
    optimizer.tx, optimizer.opt_state, optimizer._size = tx, opt_state, size
    return optimizer


class GradientDescent:
    """Plain gradient descent in the form of Flax's old `optim`: `create(params)`, `target`, `apply_gradient(grads)`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> opt = ps.optim.GradientDescent(learning_rate=0.5).create({"w": jnp.array(1.0)})
    >>> float(opt.apply_gradient({"w": jnp.array(1.0)}).target["w"])
    0.5

    Args:
      learning_rate: what gradients are multiplied by.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = float(learning_rate)  # it is static under jax.jit

    def create(self, target: Any) -> "GradientDescentOptimizer":
        """Returns an optimizer of `target`.

        Args:
          target: a pytree of parameters.

        Returns:
          An object with `target` and `apply_gradient`.
        """
        return GradientDescentOptimizer(target, self.learning_rate)


@jax.tree_util.register_pytree_node_class
class GradientDescentOptimizer:
    """Parameters under plain gradient descent; made by `GradientDescent.create`.

    Attributes:
      target: the parameters.
    """

    def __init__(self, target: Any, learning_rate: float):
        self.target = target
        self._learning_rate = learning_rate

    def apply_gradient(self, grads: Any) -> "GradientDescentOptimizer":
        """Returns an optimizer after one step.

        Args:
          grads: the gradients, of the structure of `target`.

        Returns:
          A new optimizer. This one stays as it is.
        """
        rate = self._learning_rate
        target = jax.tree.map(
            lambda p, g: jnp.asarray(p - rate * g, jnp.asarray(p).dtype), self.target, grads
        )
        return GradientDescentOptimizer(target, rate)

    def tree_flatten(self) -> Any:
        """See `jax.tree_util.register_pytree_node_class`."""
        return (self.target,), self._learning_rate

    @classmethod
    def tree_unflatten(cls, rate: Any, children: Any) -> "GradientDescentOptimizer":
        """See `jax.tree_util.register_pytree_node_class`."""
        return cls(children[0], rate)
