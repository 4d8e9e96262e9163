"""Multilayer perceptrons."""

from collections.abc import Callable, Iterable
from typing import Any

import jax

from purestate._core.keys import PRNGSequence
from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.dropout import dropout
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.linear import Linear


class MLP(Module):
    """Linear layers with an activation between them.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([300, 100, 10])(x))
    >>> x = jnp.ones([8, 784])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (8, 10)

    Args:
      output_sizes: the output size of each layer.
      w_init: the initializer of the weights; see `Linear`.
      b_init: the initializer of the biases; see `Linear`.
      with_bias: whether the layers have biases.
      activation: what is applied between layers.
      activate_final: whether it is applied after the last layer too.
      name: the name of the module.

    Raises:
      LayerError: `b_init` is given although there is no bias.
    """

    def __init__(
        self,
        output_sizes: Iterable[int],
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        with_bias: bool = True,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        activate_final: bool = False,
        name: str | None = None,
    ):
        if with_bias.__class__ is not bool:
            check_bool("MLP", "with_bias", with_bias)
        if not with_bias and b_init is not None:
            raise LayerError("MLP: b_init is given, but with_bias=False makes no biases.")
        super().__init__(name=name)
        if activate_final.__class__ is not bool:
            check_bool(self, "activate_final", activate_final)
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init
        self.activation = activation
        self.activate_final = activate_final
        self.layers = tuple(
            Linear(
                output_size=size,
                w_init=w_init,
                b_init=b_init,
                with_bias=with_bias,
                name=f"linear_{i}",
            )
            for i, size in enumerate(output_sizes)
        )
        self.output_size = self.layers[-1].output_size if self.layers else None

    def __call__(
        self,
        inputs: jax.Array,
        dropout_rate: float | jax.Array | None = None,
        rng: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the output of the last layer.

        Args:
          inputs: `[..., inputs]`.
          dropout_rate: the chance for a value between layers to become zero.
          rng: a random key, needed for dropout.

        Returns:
          `[..., output_sizes[-1]]`.

        Raises:
          LayerError: only one of `dropout_rate` and `rng` is given.
        """
        if dropout_rate is not None and rng is None:
            raise LayerError(
                f"MLP {self.module_name!r} was given dropout_rate but no rng: pass"
                " rng=ps.next_rng_key()."
            )
        if dropout_rate is None and rng is not None:
            raise LayerError(
                f"MLP {self.module_name!r} was given an rng, which it uses for dropout alone: pass"
                " dropout_rate too."
            )
        keys = PRNGSequence(rng) if rng is not None else None
        rate: Any = dropout_rate  # given if there are keys
        out = inputs
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            out = layer(out)
            if i < last or self.activate_final:
                if keys is not None:
                    out = dropout(next(keys), rate, out)
                out = self.activation(out)
        return out

    def reverse(self, activate_final: bool | None = None, name: str | None = None) -> "MLP":
        """Returns a new MLP with the layer sizes the other way round, as for a decoder.

        Args:
          activate_final: whether the activation comes after its last layer; None for as here.
          name: its name; None for this one's with `_reversed`.

        Returns:
          An MLP with parameters of its own.

        Raises:
          LayerError: this one was not called yet, so that its input size is unknown.
        """
        if activate_final.__class__ is not bool and activate_final is not None:
            check_bool(self, "activate_final", activate_final)
        sizes = [
            layer.input_size for layer in reversed(self.layers) if layer.input_size is not None
        ]
        if len(sizes) != len(self.layers):
            raise LayerError(
                f"MLP {self.module_name!r} has to be called before it is reversed: its input size"
                " is not known yet."
            )
        return MLP(
            sizes,
            w_init=self.w_init,
            b_init=self.b_init,
            with_bias=self.with_bias,
            activation=self.activation,
            activate_final=self.activate_final if activate_final is None else activate_final,
            name=name if name is not None else self.name + "_reversed",
        )
