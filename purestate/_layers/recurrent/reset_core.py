"""Starting a core anew within a sequence."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class
from purestate._layers.recurrent.core import RNNCore, as_array, initial_state_of


def _conform(should_reset: jax.Array, state: jax.Array) -> jax.Array:
    """Gives `should_reset` trailing axes, so that it broadcasts to `state`."""
    shape = should_reset.shape
    if shape != state.shape[: len(shape)]:
        raise LayerError(
            f"ResetCore: should_reset has shape {shape}, which has to be that of the state,"
            f" {state.shape}, or the first axes of it."
        )
    return jnp.reshape(should_reset, shape + (1,) * (len(state.shape) - len(shape)))


class ResetCore(RNNCore):
    """Puts a core back to its initial state wherever a signal that comes with the inputs says so.

    Useful where several episodes follow each other in one sequence.

    >>> import jax.numpy as jnp, purestate as ps
    >>> class Sum(ps.RNNCore):
    ...     def __call__(self, inputs, state):
    ...         return state + inputs, state + inputs
    ...     def initial_state(self, batch_size):
    ...         return jnp.zeros([] if batch_size is None else [batch_size])
    >>> def f(xs, should_reset):
    ...     core = ps.ResetCore(Sum())
    ...     return ps.dynamic_unroll(core, (xs, should_reset), core.initial_state(1))[0]
    >>> should_reset = jnp.array([[False], [False], [True], [False]])
    >>> ps.transform(f).apply({}, None, jnp.ones([4, 1]), should_reset)[:, 0].tolist()
    [1.0, 2.0, 1.0, 2.0]

    Args:
      core: the core to put back.
      name: the name of the module.

    Raises:
      ArgumentError: `core` is a class.
    """

    def __init__(self, core: RNNCore, name: str | None = None):
        super().__init__(name=name)
        if core.__class__ is MODULE_CLASS:
            raise is_a_class(f"ResetCore {self.module_name!r}", "its core", core)
        self.core = core

    def __call__(self, inputs: tuple[Any, Any], state: Any) -> tuple[Any, Any]:
        """Puts back what is to be put back, and runs one step of the core.

        Args:
          inputs: a pair of the core's inputs and of `should_reset`, which is one array for the
            whole state or a tree like it; each of the shape of the state, or of its first axes:
            `[B]`.
          state: the state before this step.

        Returns:
          What the core returns.

        Raises:
          LayerError: `should_reset` does not fit the state.
        """
        inputs, should_reset = inputs
        inputs = jax.tree.map(as_array, inputs)
        should_reset = jax.tree.map(as_array, should_reset)
        state = jax.tree.map(as_array, state)
        if jax.tree_util.treedef_is_leaf(jax.tree.structure(should_reset)):
            signal = should_reset
            should_reset = jax.tree.map(lambda _: signal, state)
        should_reset = jax.tree.map(_conform, should_reset, state)
        batch_size = jax.tree.leaves(inputs)[0].shape[0] if self._is_batched(state) else None
        initial_state = jax.tree.map(
            lambda s, i: lax.convert_element_type(i, s.dtype), state, self.initial_state(batch_size)
        )
        state = jax.tree.map(jnp.where, should_reset, initial_state, state)
        return self.core(inputs, state)

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> Any:
        """Returns the initial state of the core.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state's floating point arrays; None for that of the core.

        Returns:
          The state before the first step.
        """
        return initial_state_of(self.core, batch_size, dtype)

    def _is_batched(self, state: Any) -> bool:
        leaves = jax.tree.leaves(state)
        if not leaves:
            return False
        # The core alone knows: compared with a state that has a batch.
        batched = jax.tree.leaves(self.initial_state(1))
        return all(
            s.ndim >= b.ndim and s.shape[1:] == b.shape[1:]
            for b, s in zip(batched, leaves, strict=False)
        )
