"""Sonnet's functional optimizers: an optimizer that assigns, as two pure functions."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purestate._core.path import ROOT
from purestate._core.transform import transform_with_state
from purestate._sonnet.optimizers.adam import Adam
from purestate._sonnet.optimizers.base import Optimizer, check_one_for_each
from purestate._sonnet.optimizers.momentum import Momentum
from purestate._sonnet.optimizers.rmsprop import RMSProp
from purestate._sonnet.optimizers.sgd import SGD
from purestate._sonnet.variable import Variable


class TransformedOptimizer(NamedTuple):
    """An optimizer as two pure functions.

    Attributes:
      init: `init(params)` returns the state of the optimizer, `{module: {name: array}}`.
      apply: `apply(state, updates, params)` returns `(params, state)`.
    """

    init: Callable[[Any], Any]
    apply: Callable[[Any, Any, Any], tuple[Any, Any]]


def optimizer(cls: Callable[..., Optimizer]) -> Callable[..., TransformedOptimizer]:
    """Returns a function with the arguments of an optimizer that returns it as pure functions.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class SignDescent(snt.Optimizer):
    ...     def apply(self, updates, parameters):
    ...         for update, parameter in zip(updates, parameters):
    ...             parameter.assign_sub(0.5 * jnp.sign(update))
    >>> opt = snt.functional.optimizer(SignDescent)()
    >>> params = {"linear": {"w": jnp.array([1.0, 2.0])}}
    >>> state = opt.init(params)
    >>> params, state = opt.apply(state, {"linear": {"w": jnp.array([3.0, -4.0])}}, params)
    >>> params["linear"]["w"].tolist()
    [0.5, 2.5]

    Args:
      cls: a class of optimizers, such as `snt.optimizers.Adam` or your own.

    Returns:
      A function with the arguments of `cls` that returns a `TransformedOptimizer`. Its `init` and
      `apply` work on params of any structure, also under `jax.jit`.
    """

    def make(*args: Any, **kwargs: Any) -> TransformedOptimizer:
        pair = transform_with_state(
            functools.partial(_step, functools.partial(cls, *args, **kwargs))
        )

        def init(params: Any) -> Any:
            _, state = pair.init(None, jax.tree.map(jnp.zeros_like, params), params)
            return state

        def apply(state: Any, updates: Any, params: Any) -> tuple[Any, Any]:
            return pair.apply({}, state, None, updates, params)

        return TransformedOptimizer(init, apply)

    make.__name__ = make.__qualname__ = cls.__name__.lower()
    make.__doc__ = cls.__doc__
    make.__signature__ = inspect.signature(cls)  # pyright: ignore[reportFunctionMemberAccess]
    return make


sgd = optimizer(SGD)
momentum = optimizer(Momentum)
adam = optimizer(Adam)
rmsprop = optimizer(RMSProp)


def _step(make: Callable[[], Optimizer], updates: Any, params: Any) -> Any:
    """Applies an optimizer to params, as variables of no frame."""
    paths, structure = jax.tree_util.tree_flatten_with_path(params)
    held = [_Held(_name_of(path), value) for path, value in paths]
    flat = jax.tree.leaves(updates, is_leaf=lambda leaf: leaf is None)
    check_one_for_each("`apply` of a functional optimizer", flat, held)
    make().apply(flat, held)
    return jax.tree.unflatten(structure, [variable.value() for variable in held])


def _name_of(path: tuple[Any, ...]) -> tuple[str, str]:
    parts = [
        str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path
    ]
    return "/".join(parts[:-1]) or ROOT, parts[-1] if parts else "params"


class _Held(Variable):
    """A parameter that belongs to no frame: it holds its value itself."""

    def __init__(self, path: tuple[str, str], value: Any):
        self.path = path
        self._name = "/".join(path) + ":0"
        self.trainable = True
        self._value = jnp.asarray(value)
        self.shape = self._value.shape
        self.dtype = self._value.dtype

    def value(self) -> jax.Array:
        return self._value

    read_value = value

    def assign(self, value: Any, read_value: bool = True) -> "Variable":
        del read_value
        self._value = self._fitting(value)
        return self
