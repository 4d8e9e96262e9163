"""Sonnet's `Sequential`."""

from collections.abc import Callable, Iterable
from typing import Any

from purestate._sonnet.module import Module


class Sequential(Module):
    """Calls modules or functions one after the other, each on the output of the one before.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> net = snt.Sequential([lambda x, n: x + n, jnp.square])
    >>> net(jnp.ones([2]), 2.0).tolist()
    [9.0, 9.0]

    Args:
      layers: modules or functions; None for none.
      name: the name of the module.
    """

    def __init__(self, layers: Iterable[Callable[..., Any]] | None = None, name: str | None = None):
        super().__init__(name=name)
        self._layers = list(layers) if layers is not None else []

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the output of the last layer.

        Args:
          inputs: the input of the first layer.
          *args: more arguments of the first layer.
          **kwargs: keyword arguments of the first layer.

        Returns:
          The output of the last layer; `inputs` without layers.
        """
        outputs = inputs
        for number, layer in enumerate(self._layers):
            outputs = layer(outputs, *args, **kwargs) if number == 0 else layer(outputs)
        return outputs
