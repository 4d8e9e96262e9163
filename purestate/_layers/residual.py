"""A module around a skip connection."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.module import Module
from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class, not_an_array


class Residual(Module):
    """Adds the input of a function or module to its output.

    He et al. 2016, arXiv:1512.03385.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Residual(ps.Sequential([ps.Linear(3), jax.nn.relu]))(x))
    >>> x = jnp.ones([2, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (3,), 'w': (3, 3)}}
    >>> f.apply(params, None, x).shape
    (2, 3)

    Args:
      layer: a function that returns an array of the shape of its first argument.
      name: the name of the module.

    Raises:
      ArgumentError: `layer` is not a function, or is a class.
    """

    def __init__(self, layer: Callable[..., Any], name: str | None = None):
        super().__init__(name=name)
        if layer.__class__ is MODULE_CLASS:
            raise is_a_class(f"Residual {self.module_name!r}", "its layer", layer)
        if not callable(layer):
            hint = ""
            if isinstance(layer, (list, tuple)):
                hint = " For several layers write ps.Residual(ps.Sequential([first, second]))."
            raise ArgumentError(
                f"Residual {self.module_name!r} needs a module or a function, but was given"
                f" {kind_of(layer)}.{hint}"
            )
        self.layer = layer

    def __call__(self, inputs: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Returns `inputs + layer(inputs)`.

        Args:
          inputs: an array.
          *args: more arguments of the layer.
          **kwargs: likewise.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: the layer returns another shape, or something that is not an array.
        """
        try:
            shape = inputs.shape
        except AttributeError:
            raise not_an_array(self, inputs) from None
        out = self.layer(inputs, *args, **kwargs)
        try:
            found = out.shape
        except AttributeError:
            raise LayerError(
                f"Residual {self.module_name!r} adds the result of its layer to the input, so it"
                f" needs an array, but the layer returned {kind_of(out)}. Pass a function that"
                " returns only the array."
            ) from None
        if found != shape:
            raise LayerError(
                f"Residual {self.module_name!r} was given an input of shape {shape}, but its layer"
                f" returns {found}, which cannot be added to it. Give the layer as many outputs as"
                " inputs, or project the input: ps.Parallel([layer, ps.Linear(size)],"
                " combine=sum)."
            )
        return jnp.add(inputs, out)
