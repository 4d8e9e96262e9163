"""`Reshape`, `Flatten` and their functions."""

import math
from collections.abc import Sequence

import jax

from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.module import Module, no_name_scope
from purestate._sonnet.once import once


def reshape(
    inputs: jax.Array, output_shape: Sequence[int], preserve_dims: int = 1, name: str | None = None
) -> jax.Array:
    """Reshapes all axes but the first ones; see `Reshape`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.reshape(x, [2, -1]))
    >>> f.apply({}, {}, None, jnp.ones([5, 6]))[0].shape
    (5, 2, 3)

    Args:
      inputs: an array.
      output_shape: the new shape of the other axes; one size may be -1.
      preserve_dims: how many axes to keep.
      name: the name of the module.

    Returns:
      The reshaped array.
    """
    return Reshape(output_shape, preserve_dims, name=name)(inputs)


def flatten(inputs: jax.Array, name: str = "flatten") -> jax.Array:
    """Merges all axes but the first; see `Flatten`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(snt.flatten)
    >>> f.apply({}, {}, None, jnp.ones([5, 2, 3]))[0].shape
    (5, 6)

    Args:
      inputs: an array.
      name: the name of the module.

    Returns:
      `[B, ...]` as `[B, N]`.
    """
    return Flatten(name=name)(inputs)


class Reshape(Module):
    """Reshapes all axes but the first ones.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Reshape([-1, 3])(x))
    >>> f.apply({}, {}, None, jnp.ones([5, 2, 6]))[0].shape
    (5, 4, 3)

    Args:
      output_shape: the new shape of the other axes; one size may be -1.
      preserve_dims: how many axes to keep, at least 1.
      name: the name of the module.

    Raises:
      SonnetValueError: `preserve_dims` is below 1.
    """

    def __init__(
        self, output_shape: Sequence[int], preserve_dims: int = 1, name: str | None = None
    ):
        super().__init__(name=name)
        if preserve_dims <= 0:
            raise SonnetValueError(
                f"{type(self).__name__} {self.module_name!r}: preserve_dims must be at least 1; got"
                f" {preserve_dims}."
            )
        self._output_shape = output_shape
        self._preserve_dims = preserve_dims

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        if inputs.ndim < self._preserve_dims:
            raise SonnetValueError(
                f"{type(self).__name__} {self.module_name!r} keeps {self._preserve_dims} axes, but"
                f" the input has only {inputs.ndim} (shape {list(inputs.shape)}). Lower"
                " preserve_dims, or give the input more axes."
            )
        self._input_shape = inputs.shape

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Reshapes an input.

        Args:
          inputs: an array.

        Returns:
          The reshaped array.

        Raises:
          SonnetValueError: the sizes do not fit.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        kept, rest = inputs.shape[: self._preserve_dims], inputs.shape[self._preserve_dims :]
        shape = tuple(int(size) for size in self._output_shape)
        known = math.prod(size for size in shape if size != -1)
        if shape.count(-1) > 1 or (-1 not in shape and known != math.prod(rest)):
            raise self._does_not_fit(rest, shape)
        if -1 in shape:
            if known == 0 or math.prod(rest) % known:
                raise self._does_not_fit(rest, shape)
            shape = tuple(math.prod(rest) // known if size == -1 else size for size in shape)
        return inputs.reshape(*kept, *shape)

    def _does_not_fit(self, rest: tuple[int, ...], shape: tuple[int, ...]) -> SonnetValueError:
        return SonnetValueError(
            f"{type(self).__name__} {self.module_name!r} cannot bring {list(rest)}, the axes that"
            f" it does not keep, to output_shape={list(shape)}. Give sizes whose product is"
            f" {math.prod(rest)}; one of them may be -1."
        )

    @no_name_scope
    def reversed(self, name: str | None = None) -> "Reshape":
        """Returns a module that reshapes back to the shape of the first input.

        Args:
          name: the name of the module; None for that of this one with "_reversed".

        Returns:
          A `Reshape`.
        """
        if name is None:
            name = f"{self.name}_reversed"
        return Reshape(self._input_shape[self._preserve_dims :], self._preserve_dims, name=name)


class Flatten(Reshape):
    """Merges all axes but the first ones.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Flatten()(x))
    >>> f.apply({}, {}, None, jnp.ones([5, 2, 3]))[0].shape
    (5, 6)

    Args:
      preserve_dims: how many axes to keep, at least 1.
      name: the name of the module.
    """

    def __init__(self, preserve_dims: int = 1, name: str | None = None):
        super().__init__(output_shape=(-1,), preserve_dims=preserve_dims, name=name)
