"""`GroupNorm`."""

import jax
from jax.typing import ArrayLike

from purestate._sonnet.axis_norm import (
    Axis,
    absolute,
    check_same_rank,
    checked_axis,
    create_scale_and_offset,
    given_or_own,
    moments,
    normalize,
)
from purestate._sonnet.checks import as_array, channel_index, check_scale_and_offset_init
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, Ones, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable


class GroupNorm(Module):
    """Normalizes each example over groups of channels.

    Wu and He 2018, arXiv:1803.08494.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.GroupNorm(groups=2)(x))
    >>> x = jnp.array([[1.0, 3.0, 10.0, 50.0]])
    >>> params, state = f.init(None, x)
    >>> [round(v, 2) for v in f.apply(params, state, None, x)[0][0].tolist()]
    [-1.0, 1.0, -1.0, 1.0]

    Args:
      groups: the number of groups of channels.
      axis: the axes to take mean and variance over.
      create_scale: see `LayerNorm`, as the others.
      create_offset: whether there is an offset.
      eps: added to the variance.
      scale_init: the initializer of the factor.
      offset_init: the initializer of the offset.
      data_format: the position of the channels.
      name: the name of the module.

    Raises:
      SonnetValueError: an option is invalid.
    """

    scale: Variable | None
    offset: Variable | None

    def __init__(
        self,
        groups: int,
        axis: Axis = slice(1, None),
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._axis = checked_axis(self, axis)
        self._groups = groups
        self._eps = eps
        self._data_format = data_format
        self._channel_index = channel_index(data_format)
        self._rank: int | None = None
        self._create_scale = create_scale
        self._create_offset = create_offset
        check_scale_and_offset_init(self, create_scale, create_offset, scale_init, offset_init)
        self._scale_init = Ones() if scale_init is None else scale_init
        self._offset_init = Zeros() if offset_init is None else offset_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        self._rank = inputs.ndim
        create_scale_and_offset(self, inputs)
        channels = inputs.shape[self._channel_index]
        if channels % self._groups:
            raise SonnetValueError(
                f"GroupNorm {self.module_name!r}: {channels} channels cannot be split into"
                f" {self._groups} groups of one size. Choose a number of groups that divides"
                f" {channels}."
            )

    def __call__(
        self, inputs: jax.Array, scale: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> jax.Array:
        """Normalizes an input; see `LayerNorm.__call__`.

        Args:
          inputs: `[B, ..., C]`, or as `data_format` says.
          scale: a factor, if the module has none.
          offset: an offset, if the module has none.

        Returns:
          An array of the same shape.

        Raises:
          SonnetValueError: the shape does not fit, or there are two scales or offsets.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        factor, shift = given_or_own(self, scale, offset)
        check_same_rank(self, inputs)
        split = (self._groups, inputs.shape[self._channel_index] // self._groups)
        if self._channel_index == 1:
            grouped = inputs.reshape(inputs.shape[0], *split, *inputs.shape[2:])
        else:
            grouped = inputs.reshape(*inputs.shape[:-1], *split)
        mean, variance = moments(grouped, self._axes_in_groups(inputs.ndim))
        out = normalize(grouped, None, None, None, mean, variance, eps=self._eps)
        out = out.reshape(inputs.shape)
        if factor is not None:
            out = out * factor
        return out if shift is None else out + shift

    def _axes_in_groups(self, ndim: int) -> tuple[int, ...]:
        """Returns the axes once the channels are split into (groups, channels of a group)."""
        # Negative axes count from the end of the split shape, as in Sonnet.
        absolute(self, self._axis, ndim)
        axes = range(ndim)[self._axis] if isinstance(self._axis, slice) else self._axis
        if self._channel_index == 1:
            moved = (a if a == 0 else a + 1 for a in axes)
        else:
            moved = (a + 1 if a == ndim - 1 else a for a in axes)
        return tuple(a % (ndim + 1) for a in moved)
