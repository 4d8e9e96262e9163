"""Group normalization."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.axes import (
    Axes,
    absolute_axes,
    axes_or_slice,
    checked_norm_mask,
    get_channel_index,
)
from purestate._layers.errors import LayerError
from purestate._layers.layer_norm import check_scale_and_offset, check_scale_and_offset_init
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.normalization import normalize


def _axes_in_groups(layer: "GroupNorm", ndim: int) -> tuple[int, ...]:
    """The axes of a norm once its channels are two axes: groups, and channels within one."""
    axes = absolute_axes(layer.axis, ndim)
    first = layer.channel_index == 1
    if not isinstance(layer.axis, slice) and any(a < 0 and (first or a != -1) for a in layer.axis):
        # dm-haiku takes them after the split, and so normalizes over other axes than asked for.
        raise LayerError(
            f"GroupNorm {layer.module_name!r}: axis={layer.axis} is counted from the back, where"
            f" the channels get split. Count from the front: {axes}."
        )
    if first:
        return tuple(a + 1 if a else a for a in axes)
    return tuple(a + 1 if a == ndim - 1 else a for a in axes)


class GroupNorm(Module):
    """Normalizes each group of channels of each example to mean 0 and variance 1.

    Wu and He 2018, arXiv:1803.08494.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.GroupNorm(groups=2)(x))
    >>> x = jnp.array([[1.0, 3.0, 10.0, 50.0]])
    >>> params = f.init(None, x)
    >>> [round(v, 2) for v in f.apply(params, None, x)[0].tolist()]
    [-1.0, 1.0, -1.0, 1.0]

    Args:
      groups: into how many groups the channels are split.
      axis: the axes to take mean and variance over, counted from the front; the channels, if they
        are among them, within their group.
      create_scale: whether there is a factor per channel, a parameter.
      create_offset: whether there is an offset per channel, a parameter.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      data_format: where the channels are; see `ConvND`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: `axis` is no axis, or there is an initializer for nothing.
    """

    def __init__(
        self,
        groups: int,
        axis: Axes = slice(1, None),
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        check_scale_and_offset_init(self, create_scale, create_offset, scale_init, offset_init)
        self.groups = groups
        self.axis = axes_or_slice(axis, "GroupNorm: axis")
        self.eps = eps
        self.param_dtype = param_dtype
        self.data_format = data_format
        self.channel_index = get_channel_index(data_format)
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.scale_init = scale_init or jnp.ones
        self.offset_init = offset_init or jnp.zeros
        self.rank: int | None = None

    def __call__(
        self,
        x: jax.Array | np.ndarray[Any, Any],
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        """Returns `x`, normalized.

        Args:
          x: `[B, ..., C]`, or as `data_format` says; always of the same rank.
          scale: a factor that broadcasts to `x`, where there is no parameter.
          offset: an offset that broadcasts to `x`, where there is no parameter.
          mask: booleans that broadcast to `x`: what counts in the statistics, such as
            `mask[:, :, None]` for `[B, T]`; None for all.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: the shape does not fit, or there are two scales or offsets.
        """
        check_scale_and_offset(self, scale, offset)
        if not isinstance(x, jax.Array):
            x = jnp.asarray(x)
        if self.rank not in (None, x.ndim):
            raise LayerError(
                f"GroupNorm {self.module_name!r} was first called with {self.rank} axes, and now"
                f" with {x.ndim} (shape {x.shape}). Use a GroupNorm for each."
            )
        self.rank = x.ndim
        try:
            channels = x.shape[self.channel_index]
        except IndexError:
            raise LayerError(
                f"GroupNorm {self.module_name!r} needs an input of two or more axes,"
                f" {self.data_format!r}, got shape {x.shape}."
            ) from None
        if self.groups < 1 or channels % self.groups:
            raise LayerError(
                f"GroupNorm {self.module_name!r}: {channels} channels cannot be split into"
                f" groups={self.groups} of one size."
            )
        split = (self.groups, channels // self.groups)
        if self.channel_index == 1:
            grouped = (x.shape[0], *split, *x.shape[2:])
            params_shape = (channels,) + (1,) * (x.ndim - 2)
        else:
            grouped = (*x.shape[:-1], *split)
            params_shape = (channels,)
        if self.create_scale:
            scale = get_parameter_kept_in(
                self.param_dtype, "scale", params_shape, x.dtype, self.scale_init
            )
        if self.create_offset:
            offset = get_parameter_kept_in(
                self.param_dtype, "offset", params_shape, x.dtype, self.offset_init
            )
        axes = _axes_in_groups(self, x.ndim)
        if mask is not None:
            mask = checked_norm_mask(self, mask, x.shape)
        return normalize(
            x, scale, offset, mask, kind="group", axis=axes, eps=self.eps, groups=grouped
        )
