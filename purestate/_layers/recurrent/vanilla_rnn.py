"""The plain recurrent network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._layers.errors import check_bool
from purestate._layers.linear import Linear
from purestate._layers.recurrent.core import RNNCore, as_array, with_batch_size


class VanillaRNN(RNNCore):
    """A fully connected core: `activation(linear(inputs) + linear(state))`.

    That is both the output and the new state.     Elman 1990 (Cognitive Science 14:179).

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.VanillaRNN(4)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'vanilla_rnn/linear': {'b': (4,), 'w': (3, 4)}, 'vanilla_rnn/linear_1': {'b': (4,), 'w': (4,
    4)}}

    Args:
      hidden_size: the size of the state.
      double_bias: whether both linear layers have a bias, and not that of the inputs alone.
      name: the name of the module.
      activation: the function of the sum.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        hidden_size: int,
        double_bias: bool = True,
        name: str | None = None,
        *,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if double_bias.__class__ is not bool:
            check_bool(self, "double_bias", double_bias)
        self.hidden_size = hidden_size
        self.double_bias = double_bias
        self.activation = activation
        # Left out if it says nothing, so that the layers look as they do in dm-haiku.
        self._kept: dict[str, Any] = {} if param_dtype is None else {"param_dtype": param_dtype}

    def __call__(self, inputs: jax.Array, prev_state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Runs one step.

        Args:
          inputs: `[B, D]`, or `[D]`.
          prev_state: `[B, hidden_size]`, or `[hidden_size]`.

        Returns:
          The new state, twice: as the output and as the state.
        """
        from_inputs = Linear(self.hidden_size, **self._kept)
        from_state = Linear(self.hidden_size, with_bias=self.double_bias, **self._kept)
        a, b = from_inputs(as_array(inputs)), from_state(as_array(prev_state))
        out = self.activation(lax.add(a, b) if a.dtype == b.dtype and a.shape == b.shape else a + b)
        return out, out

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> jax.Array:
        """Returns zeros, `[B, hidden_size]` or `[hidden_size]`.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state; None for JAX's default, float32, or float64 under `jax_enable_x64`.

        Returns:
          The state before the first step.
        """
        return jnp.zeros(with_batch_size((self.hidden_size,), batch_size), dtype)
