"""`MLP`."""

from collections.abc import Callable, Iterable

import jax

from purestate._core.rng import next_rng_key
from purestate._layers.dropout import dropout
from purestate._layers.errors import check_bool
from purestate._sonnet.checks import as_array, check_bias_init
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer
from purestate._sonnet.linear import Linear
from purestate._sonnet.module import Module


class MLP(Module):
    """A chain of `Linear` layers with an activation between them.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.nets.MLP([30, 10])(x))
    >>> params, _ = f.init(jax.random.key(0), jnp.ones([2, 5]))
    >>> jax.tree.map(jnp.shape, params["mlp/linear_0"])
    {'b': (30,), 'w': (5, 30)}

    Args:
      output_sizes: the size of each layer.
      w_init: the initializer of each `w`; see `Linear`.
      b_init: the initializer of each `b`.
      with_bias: whether the layers have a bias.
      activation: the function between layers.
      dropout_rate: the part of the values that dropout removes before each activation; None for no
        dropout.
      activate_final: whether the activation follows the last layer too.
      name: the name of the module.

    Raises:
      SonnetValueError: `b_init` without a bias.
    """

    def __init__(
        self,
        output_sizes: Iterable[int],
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        with_bias: bool = True,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        dropout_rate: float | None = None,
        activate_final: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        check_bias_init(self, with_bias, b_init)
        self._with_bias = with_bias
        self._w_init = w_init
        self._b_init = b_init
        self._activation = activation
        self._activate_final = activate_final
        self._dropout_rate = dropout_rate
        self._layers = [
            Linear(size, with_bias, w_init, b_init, name=f"linear_{index}")
            for index, size in enumerate(output_sizes)
        ]

    def __call__(self, inputs: jax.Array, is_training: bool | None = None) -> jax.Array:
        """Applies the layers.

        Args:
          inputs: `[B, ..., inputs]`.
          is_training: whether dropout is on; given if and only if the module has dropout.

        Returns:
          `[B, ..., output_sizes[-1]]`.

        Raises:
          SonnetValueError: `is_training` is missing, or given without dropout.
        """
        has_dropout = self._dropout_rate not in (None, 0)
        if has_dropout and is_training is None:
            raise SonnetValueError(
                f"MLP {self.module_name!r} has dropout, so a call needs is_training=True or False."
            )
        if not has_dropout and is_training is not None:
            raise SonnetValueError(
                f"MLP {self.module_name!r} has no dropout. Leave is_training out, or make the MLP"
                " with a dropout_rate."
            )
        if is_training is not None:
            check_bool(self, "is_training", is_training)
        outputs = as_array(inputs)
        for layer in self._layers:
            outputs = layer(outputs)
            if layer is not self._layers[-1] or self._activate_final:
                if has_dropout and is_training:
                    outputs = dropout(next_rng_key(), self._dropout_rate or 0.0, outputs)
                outputs = self._activation(outputs)
        return outputs

    def reverse(self, activate_final: bool | None = None, name: str | None = None) -> "MLP":
        """Returns an MLP with the sizes of this one in reverse, and weights of its own.

        Args:
          activate_final: whether it activates its last layer; None for the same as this one.
          name: its name; None for that of this one with "_reversed".

        Returns:
          An `MLP`.

        Raises:
          SonnetValueError: this one has not been called, so its input size is not known.
        """
        sizes = [getattr(layer, "input_size", None) for layer in reversed(self._layers)]
        if None in sizes:
            raise SonnetValueError(
                f"MLP {self.module_name!r} does not know the size of its input yet. Call it on an"
                " example before `reverse`."
            )
        return MLP(
            [size for size in sizes if size is not None],
            w_init=self._w_init,
            b_init=self._b_init,
            with_bias=self._with_bias,
            activation=self._activation,
            dropout_rate=self._dropout_rate,
            activate_final=self._activate_final if activate_final is None else activate_final,
            name=f"{self.name}_reversed" if name is None else name,
        )
