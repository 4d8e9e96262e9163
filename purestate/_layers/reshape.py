"""Reshaping all but the leading axes."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from purestate._core.module import Module
from purestate._layers.errors import LayerError, not_an_array


class Reshape(Module):
    """Gives all axes but the first few another shape.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Reshape((2, -1))(x))
    >>> f.apply({}, None, jnp.ones([5, 4, 3])).shape
    (5, 2, 6)

    Args:
      output_shape: the new shape of the other axes; one size may be -1, to be found out.
      preserve_dims: how many leading axes stay.
      name: the name of the module.

    Raises:
      LayerError: no axis is to stay, or several sizes are -1.
    """

    def __init__(
        self, output_shape: Sequence[int], preserve_dims: int = 1, name: str | None = None
    ):
        super().__init__(name=name)
        if preserve_dims == 0:
            raise LayerError(
                "Reshape: preserve_dims has to be at least 1; to reshape all axes, jnp.reshape"
                " does."
            )
        if tuple(output_shape).count(-1) > 1:
            raise LayerError(
                f"Reshape: only one size can be found out, but {tuple(output_shape)} has"
                " several -1."
            )
        self.output_shape = tuple(output_shape)
        self.preserve_dims = preserve_dims

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns `inputs` in the new shape; as it is where there are no other axes.

        Args:
          inputs: `[*leading, ...]`.

        Returns:
          `[*leading, *output_shape]`.

        Raises:
          TypeError: the sizes do not fit.
          LayerError: `inputs` is no array.
        """
        try:
            ndim = inputs.ndim
        except AttributeError:
            raise not_an_array(self, inputs) from None
        if ndim <= self.preserve_dims:
            return inputs
        shape = self.output_shape
        if -1 in shape:
            known = -math.prod(shape)
            rest = math.prod(inputs.shape[self.preserve_dims :])
            shape = tuple(rest // known if size == -1 else size for size in shape)
        return jnp.reshape(inputs, (*inputs.shape[: self.preserve_dims], *shape))


class Flatten(Reshape):
    """Makes all axes but the first few one.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.transform(lambda x: ps.Flatten()(x)).apply({}, None, jnp.ones([5, 4, 3])).shape
    (5, 12)

    Args:
      preserve_dims: how many leading axes stay.
      name: the name of the module.
    """

    def __init__(self, preserve_dims: int = 1, name: str | None = None):
        super().__init__(output_shape=(-1,), preserve_dims=preserve_dims, name=name)
