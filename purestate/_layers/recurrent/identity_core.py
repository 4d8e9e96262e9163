"""The core that does nothing."""

from typing import Any, TypeVar

from purestate._layers.recurrent.core import RNNCore

X = TypeVar("X")
S = TypeVar("S")


class IdentityCore(RNNCore):
    """A core that returns its inputs and has no state.

    It stands where a core is needed but a network is to be without recurrence.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     core = ps.IdentityCore()
    ...     return ps.dynamic_unroll(core, xs, core.initial_state(None))
    >>> outs, state = ps.transform(f).apply({}, None, jnp.arange(3.0))
    >>> outs.tolist(), state
    ([0.0, 1.0, 2.0], ())

    Args:
      name: the name of the module.
    """

    def __call__(self, inputs: X, state: S) -> tuple[X, S]:
        """Runs one step.

        Args:
          inputs: anything.
          state: anything.

        Returns:
          Both, as they are.
        """
        return inputs, state

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> tuple[()]:
        """Returns no state.

        Args:
          batch_size: not used.
          dtype: not used.

        Returns:
          `()`.
        """
        del batch_size, dtype
        return ()
