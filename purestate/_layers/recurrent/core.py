"""`RNNCore`: one step of a recurrent network."""

import abc
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._layers.errors import LayerError


class RecurrentError(LayerError, TypeError, IndexError):
    """A core or an unroll was given a state or a sequence that does not fit."""


def as_array(x: "ArrayLike | Sequence[Any]") -> jax.Array:
    """Returns `x` as a JAX array."""
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def with_batch_size(shape: tuple[int, ...], batch_size: int | None) -> tuple[int, ...]:
    """Returns `shape` with a batch axis in front, unless there is no batch."""
    return shape if batch_size is None else (batch_size, *shape)


def initial_state_of(core: Any, batch_size: int | None, dtype: Any) -> Any:
    """Returns the initial state of a core, with floating point arrays in `dtype` if it is given.

    A core of the user's own need not know of `dtype`: its state is cast.
    """
    if dtype is None:
        return core.initial_state(batch_size)
    parameters = inspect.signature(core.initial_state).parameters.values()
    if any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in parameters):
        return core.initial_state(batch_size, dtype=dtype)

    def cast(x: Any) -> Any:
        return jnp.asarray(x, dtype) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x

    return jax.tree.map(cast, core.initial_state(batch_size))


class RNNCore(Module, abc.ABC):
    """The base of recurrent cores: `core(inputs, state) -> (outputs, state)`.

    Inputs, outputs and states may be any pytrees. `static_unroll` and `dynamic_unroll` run a core
    over a sequence. The cores of purestate also take `initial_state(batch_size, dtype=...)`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> class Sum(ps.RNNCore):
    ...     def __call__(self, inputs, state):
    ...         total = state + inputs
    ...         return total, total
    ...     def initial_state(self, batch_size):
    ...         return jnp.zeros([] if batch_size is None else [batch_size])
    >>> def f(xs):
    ...     core = Sum()
    ...     return ps.dynamic_unroll(core, xs, core.initial_state(None))
    >>> outs, last = ps.transform(f).apply({}, None, jnp.arange(4.0))
    >>> outs.tolist(), float(last)
    ([0.0, 1.0, 3.0, 6.0], 6.0)

    Args:
      name: the name of the module.
    """

    @abc.abstractmethod
    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step.

        Args:
          inputs: the inputs of this step, `[B, ...]` or without a batch.
          prev_state: the state before it.

        Returns:
          The outputs of this step, and the state after it.
        """

    @abc.abstractmethod
    def initial_state(self, batch_size: int | None) -> Any:
        """Returns the state before the first step.

        Args:
          batch_size: B, or None for inputs without a batch.

        Returns:
          A state for `__call__`.
        """
