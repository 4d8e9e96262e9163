"""`Optimizer`: an optax optimizer with its state, inside a transformed function and outside."""

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import jax

from purestate._core.frame import inside_transform
from purestate._core.module import Module
from purestate._core.variables import get_state, set_state
from purestate._state.named_variables import has_state
from purestate._views.errors import ViewError
from purestate._views.optimizer_step import (
    check_grads,
    check_transformation,
    first_state,
    size_of,
    step,
)

if TYPE_CHECKING:
    from purestate._editing.trainable_only import Transformation

T = TypeVar("T")  # the type of params


class OptimizerModule(Module):
    """An `Optimizer` inside a transformed function: its state is one entry, `opt_state`."""

    def __init__(self, tx: "Transformation", name: str | None = None):
        super().__init__(name=name or "optimizer")
        check_transformation(tx)
        self.tx = tx

    def init(self, params: Any) -> "OptimizerModule":
        """Makes the state for `params`, unless there is one.

        Args:
          params: the parameters.

        Returns:
          The module itself.
        """
        if not has_state("opt_state"):
            set_state("opt_state", first_state(self.tx, params))
        return self

    @overload
    def update(
        self, grads: Any, params: T, apply_updates: Literal[True] = True, **extra: Any
    ) -> T: ...
    @overload
    def update(
        self, grads: T, params: Any = None, *, apply_updates: Literal[False], **extra: Any
    ) -> T: ...
    @overload
    def update(self, grads: Any, params: Any, apply_updates: bool, **extra: Any) -> Any: ...
    def update(
        self, grads: Any, params: Any = None, apply_updates: bool = True, **extra: Any
    ) -> Any:
        """Takes a step, and keeps the new state.

        Args:
          grads: the gradients.
          params: the parameters, with the structure and shapes of `grads`.
          apply_updates: whether to return the new params; if not, the updates.
          **extra: other arguments of the optimizer, such as `value=loss`.

        Returns:
          The new params, or the updates.

        Raises:
          ViewError: there is no state and there are no params to make it from; or `grads`,
            `params` and the state do not fit in structure, shape or kind of dtype.
        """
        check_grads(params, grads, apply_updates)
        if not has_state("opt_state"):
            if params is None:
                raise ViewError(
                    f"The optimizer {self.module_name!r} has no state yet: call `init(params)`, or"
                    " pass the params to `update`."
                )
            set_state("opt_state", first_state(self.tx, params))
        before = get_state("opt_state")
        out, opt_state = step(self.tx, grads, before, params, apply_updates, extra)
        set_state("opt_state", opt_state)
        return out


@jax.tree_util.register_pytree_with_keys_class
class Optimizer:
    """An optax optimizer with its state.

    Outside a transformed function it is an immutable pytree:

    >>> import jax, jax.numpy as jnp, optax, purestate as ps
    >>> params = {"linear": {"w": jnp.array([1.0, 2.0])}}
    >>> opt = ps.Optimizer(optax.sgd(0.1)).init(params)
    >>> params, opt = opt.update({"linear": {"w": jnp.array([1.0, 0.0])}}, params)
    >>> [round(float(x), 4) for x in params["linear"]["w"]]
    [0.9, 2.0]

    Inside one it is a module that updates itself. Its state is one entry:

    >>> def step(grads, params):
    ...     return ps.Optimizer(optax.adam(0.1)).update(grads, params)
    >>> f = ps.transform_with_state(step)
    >>> _, state = f.init(None, params, params)
    >>> list(state["optimizer"])
    ['opt_state']
    >>> params, state = f.apply({}, state, None, params, params)

    Args:
      tx: an optax optimizer, or anything with such `init` and `update`.
      name: the name of the module, inside a transformed function.

    Attributes:
      tx: the optax optimizer.
      opt_state: its state; None before `init`.

    Raises:
      ViewTypeError: `tx` is not an optimizer.
    """

    __slots__ = ("_size", "opt_state", "tx")

    def __new__(cls, tx: "Transformation", name: str | None = None) -> Any:
        if inside_transform():
            return OptimizerModule(tx, name)
        return super().__new__(cls)

    def __init__(self, tx: "Transformation", name: str | None = None):
        del name
        check_transformation(tx)
        self.tx = tx
        self.opt_state: Any = None
        self._size: int | None = None  # how many arrays it was initialized with

    def init(self, params: Any) -> "Optimizer":
        """Returns an optimizer with the state for `params`.

        Args:
          params: the parameters: any pytree. A model in it stands for its parameters.

        Returns:
          A new optimizer.
        """
        return _made(self.tx, first_state(self.tx, params), size_of(params))

    @overload
    def update(
        self, grads: Any, params: T, apply_updates: Literal[True] = True, **extra: Any
    ) -> tuple[T, "Optimizer"]: ...
    @overload
    def update(
        self, grads: T, params: Any = None, *, apply_updates: Literal[False], **extra: Any
    ) -> tuple[T, "Optimizer"]: ...
    @overload
    def update(
        self, grads: Any, params: Any, apply_updates: bool, **extra: Any
    ) -> tuple[Any, "Optimizer"]: ...
    def update(
        self, grads: Any, params: Any = None, apply_updates: bool = True, **extra: Any
    ) -> tuple[Any, "Optimizer"]:
        """Takes a step: returns the new params (or the updates) and the new optimizer.

        Args:
          grads: the gradients.
          params: the parameters, with the structure and shapes of `grads`.
          apply_updates: whether to return the new params; if not, the updates.
          **extra: other arguments of the optimizer, such as `value=loss`.

        Returns:
          `(params, optimizer)`, or `(updates, optimizer)`.

        Raises:
          ViewError: `init` was not called; or `grads`, `params` and the state do not fit in
            structure, shape or kind of dtype.
        """
        if self._size is None:
            raise ViewError(
                "This Optimizer has no state yet. Write `opt = ps.Optimizer(tx).init(params)`"
                " first."
            )
        check_grads(params, grads, apply_updates, self._size)
        out, opt_state = step(self.tx, grads, self.opt_state, params, apply_updates, extra)
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


def _made(tx: "Transformation", opt_state: Any, size: int | None) -> Optimizer:
    # Not by calling the class, which makes a module inside a transformed function.
    optimizer: Any = object.__new__(Optimizer)
    optimizer.tx, optimizer.opt_state, optimizer._size = tx, opt_state, size
    return optimizer
