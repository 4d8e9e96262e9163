"""`GatedMLP`, the feed-forward layer of most transformers since 2020."""

from collections.abc import Callable

import jax
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.errors import check_bool
from purestate._layers.linear import Linear


class GatedMLP(Module):
    """Two Linear layers side by side, one the gate of the other, and a third for their product.

    `down(activation(gate(x)) * up(x))`: with `jax.nn.silu` SwiGLU, with `jax.nn.gelu` GEGLU, with
    `jax.nn.sigmoid` GLU. Shazeer 2020, arXiv:2002.05202.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.GatedMLP(16)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([2, 5, 4])))
    {'gated_mlp/down': {'w': (16, 4)}, 'gated_mlp/gate': {'w': (4, 16)}, 'gated_mlp/up': {'w': (4,
    16)}}

    Args:
      hidden_size: the size between the layers.
      output_size: the size of the last axis of the output; None for that of the input.
      activation: what is applied to the gate.
      with_bias: whether the layers have biases.
      w_init: the initializer of the weights; see `Linear`.
      b_init: the initializer of the biases; see `Linear`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        hidden_size: int,
        output_size: int | None = None,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.silu,
        with_bias: bool = False,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.hidden_size = hidden_size
        self.output_size = output_size
        self.activation = activation
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init
        self.param_dtype = param_dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `down(activation(gate(x)) * up(x))`.

        Args:
          x: `[..., D]`.

        Returns:
          `[..., output_size]`.

        Raises:
          LayerError: `x` is a scalar.
        """

        def linear(size: int, name: str) -> Linear:
            return Linear(
                size, self.with_bias, self.w_init, self.b_init, name, param_dtype=self.param_dtype
            )

        gate = self.activation(linear(self.hidden_size, "gate")(x))
        hidden = gate * linear(self.hidden_size, "up")(x)
        return linear(self.output_size or x.shape[-1], "down")(hidden)
