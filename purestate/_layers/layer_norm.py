"""Layer normalization and instance normalization."""

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
    parameter_shape,
)
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.normalization import normalize


def check_scale_and_offset_init(
    layer: Module,
    create_scale: bool,
    create_offset: bool,
    scale_init: Initializer | None,
    offset_init: Initializer | None,
) -> None:
    """Raises if there is an initializer for a parameter that is not made."""
    for name, create, init in (
        ("scale", create_scale, scale_init),
        ("offset", create_offset, offset_init),
    ):
        if create.__class__ is not bool:
            check_bool(layer, f"create_{name}", create)
        if init is not None and not create:
            raise LayerError(
                f"{type(layer).__name__}: {name}_init is given, but create_{name}=False makes no"
                f" {name}."
            )


def check_scale_and_offset(layer: Any, scale: ArrayLike | None, offset: ArrayLike | None) -> None:
    """Raises if a norm is called with a scale or offset although it has a parameter for it."""
    for name, create, value in (
        ("scale", layer.create_scale, scale),
        ("offset", layer.create_offset, offset),
    ):
        if value is not None and create:
            raise LayerError(
                f"{type(layer).__name__} {layer.module_name!r} has a parameter {name!r} and was"
                f" given another {name}. Make it with create_{name}=False."
            )


class LayerNorm(Module):
    """Normalizes each example to mean 0 and variance 1 over some of its axes.

    Ba et al. 2016, arXiv:1607.06450.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x))
    >>> x = jnp.array([[1.0, 3.0]])
    >>> params = f.init(None, x)
    >>> [round(v, 2) for v in f.apply(params, None, x)[0].tolist()]
    [-1.0, 1.0]

    Args:
      axis: the axes to take mean and variance over: one, several or a slice.
      create_scale: whether there is a factor, a parameter.
      create_offset: whether there is an offset, a parameter.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      use_fast_variance: whether to take the variance as the mean of squares minus the square of the
        mean, which reads the inputs once but is less exact.
      name: the name of the module.
      param_axis: the axes along which factor and offset differ; None for the last.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: `axis` or `param_axis` is no axis, or there is an initializer for nothing.
    """

    def __init__(
        self,
        axis: Axes,
        create_scale: bool,
        create_offset: bool,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        use_fast_variance: bool = False,
        name: str | None = None,
        *,
        param_axis: Axes | None = None,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if use_fast_variance.__class__ is not bool:
            check_bool(self, "use_fast_variance", use_fast_variance)
        check_scale_and_offset_init(self, create_scale, create_offset, scale_init, offset_init)
        self.axis = axes_or_slice(axis, f"{type(self).__name__}: axis")
        self.param_dtype = param_dtype
        self.eps = eps
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.scale_init = scale_init or jnp.ones
        self.offset_init = offset_init or jnp.zeros
        self.use_fast_variance = use_fast_variance
        self.param_axis = (
            (-1,)
            if param_axis is None
            else axes_or_slice(param_axis, f"{type(self).__name__}: param_axis")
        )

    def __call__(
        self,
        inputs: jax.Array | np.ndarray[Any, Any],
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        """Returns `inputs`, normalized.

        Args:
          inputs: an array that has the axes.
          scale: a factor that broadcasts to `inputs`, where there is no parameter.
          offset: an offset that broadcasts to `inputs`, where there is no parameter.
          mask: booleans that broadcast to `inputs`: what counts in the statistics, such as
            `mask[:, :, None]` for `[B, T]`; None for all.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: an axis is not in `inputs`, or there are two scales or offsets.
        """
        check_scale_and_offset(self, scale, offset)
        if not isinstance(inputs, jax.Array):
            inputs = jnp.asarray(inputs)
        axis = absolute_axes(self.axis, inputs.ndim)
        if mask is not None:
            mask = checked_norm_mask(self, mask, inputs.shape)
        shape = parameter_shape(inputs.shape, absolute_axes(self.param_axis, inputs.ndim))
        if self.create_scale:
            scale = get_parameter_kept_in(
                self.param_dtype, "scale", shape, inputs.dtype, self.scale_init
            )
        if self.create_offset:
            offset = get_parameter_kept_in(
                self.param_dtype, "offset", shape, inputs.dtype, self.offset_init
            )
        return normalize(
            inputs,
            scale,
            offset,
            mask,
            kind="layer",
            axis=axis,
            eps=self.eps,
            use_fast_variance=self.use_fast_variance,
        )


class InstanceNorm(LayerNorm):
    """Normalizes each channel of each example to mean 0 and variance 1.

    Ulyanov et al. 2016, arXiv:1607.08022.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.InstanceNorm(create_scale=True, create_offset=True)(x))
    >>> jax.tree.map(jnp.shape, f.init(None, jnp.ones([2, 8, 8, 3])))
    {'instance_norm': {'offset': (3,), 'scale': (3,)}}

    Args:
      create_scale: whether there is a factor per channel, a parameter.
      create_offset: whether there is an offset per channel, a parameter.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      data_format: where the channels are; see `ConvND`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: there is an initializer for nothing.
    """

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        channel = get_channel_index(data_format)
        super().__init__(
            slice(2, None) if channel == 1 else slice(1, -1),
            create_scale,
            create_offset,
            eps,
            scale_init,
            offset_init,
            name=name,
            param_axis=channel,
            param_dtype=param_dtype,
        )
