"""Convolutions of each channel by itself."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers import padding as pad
from purestate._layers.axes import get_channel_index, replicate, sizes_of_axes
from purestate._layers.conv import (
    Padding,
    check_padding,
    conv_bias,
    conv_dimension_numbers,
    padded,
    with_batch,
)
from purestate._layers.errors import check_bool
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.convolutions import conv_general_dilated


class DepthwiseConvND(Module):
    """A convolution of each channel by itself, over any number of spatial axes.

    Its subclasses say how many. Sifre 2014, "Rigid-motion scattering for image classification";
    Howard et al. 2017, arXiv:1704.04861.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.DepthwiseConv2D(channel_multiplier=2, kernel_shape=3)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 16, 3])))
    {'depthwise_conv2_d': {'b': (6,), 'w': (3, 3, 1, 6)}}

    Args:
      channel_multiplier: how many output channels there are for each input channel.
      kernel_shape: the size of the kernel, for all axes or for each.
      num_spatial_dims: how many axes to convolve over.
      data_format: where the channels are: "channels_last", "channels_first", or such as "NHWC".
      stride: the step between outputs, for all axes or for each.
      rate: the step between the inputs of one output (dilation), for all axes or for each.
      padding: "SAME", "VALID", "CIRCULAR", "REFLECT", pairs (before, after), or functions of
        `purestate.pad`; see `ConvND`.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: an option has no meaning.
    """

    def __init__(
        self,
        channel_multiplier: int,
        kernel_shape: int | Sequence[int],
        num_spatial_dims: int,
        data_format: str,
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.param_dtype = param_dtype
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.num_spatial_dims = num_spatial_dims
        self.kernel_shape = sizes_of_axes(kernel_shape, num_spatial_dims, "kernel_shape")
        self.lhs_dilation = (1,) * num_spatial_dims
        self.rhs_dilation = sizes_of_axes(rate, num_spatial_dims, "rate")
        self.channel_multiplier = channel_multiplier
        self.padding: Any
        if isinstance(padding, str):
            self.padding = check_padding(self, padding)
        else:
            self.padding = pad.create(
                padding, self.kernel_shape, self.rhs_dilation, num_spatial_dims
            )
        self.stride = sizes_of_axes(stride, num_spatial_dims, "stride")
        self.data_format = data_format
        self.channel_index = get_channel_index(data_format)
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init or jnp.zeros
        self.dn = conv_dimension_numbers(
            num_spatial_dims, self.channel_index == -1, transpose=False
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns the convolution of each channel of `inputs`.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says; N may be left
            out.

        Returns:
          An array of the same layout with `C * channel_multiplier` channels.

        Raises:
          LayerError: the shape does not fit.
        """
        inputs, unbatched = with_batch(self, inputs, self.num_spatial_dims)
        channels = inputs.shape[self.channel_index]
        w_shape = (*self.kernel_shape, 1, self.channel_multiplier * channels)
        w = get_parameter_kept_in(
            self.param_dtype, "w", w_shape, inputs.dtype, self.w_init or truncated_fan_in
        )
        inputs, padding = padded(self, inputs, self.rhs_dilation)
        out = conv_general_dilated(
            inputs,
            w,
            self.stride,
            padding,
            self.lhs_dilation,
            self.rhs_dilation,
            self.dn,
            channels,
        )
        if self.with_bias:
            out = conv_bias(self, out, inputs.dtype)
        return jnp.squeeze(out, 0) if unbatched else out


class DepthwiseConv1D(DepthwiseConvND):
    """A convolution of each channel by itself, over one axis; see `DepthwiseConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.DepthwiseConv1D(2, kernel_shape=3)(x))
    >>> x = jnp.ones([1, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 16, 6)
    """

    def __init__(
        self,
        channel_multiplier: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            channel_multiplier, kernel_shape, 1, data_format, stride, rate, padding,
            with_bias, w_init, b_init, name, param_dtype=param_dtype,
        )  # fmt: skip


class DepthwiseConv2D(DepthwiseConvND):
    """A convolution of each channel by itself, over two axes; see `DepthwiseConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.DepthwiseConv2D(2, kernel_shape=3)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 16, 16, 6)
    """

    def __init__(
        self,
        channel_multiplier: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            channel_multiplier, kernel_shape, 2, data_format, stride, rate, padding,
            with_bias, w_init, b_init, name, param_dtype=param_dtype,
        )  # fmt: skip


class DepthwiseConv3D(DepthwiseConvND):
    """A convolution of each channel by itself, over three axes; see `DepthwiseConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.DepthwiseConv3D(2, kernel_shape=3)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 4, 4, 4, 6)
    """

    def __init__(
        self,
        channel_multiplier: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            channel_multiplier, kernel_shape, 3, data_format, stride, rate, padding,
            with_bias, w_init, b_init, name, param_dtype=param_dtype,
        )  # fmt: skip


class SeparableDepthwiseConv2D(Module):
    """A convolution of each channel by itself with a kernel that is a column times a row.

    It is two `DepthwiseConv2D`, one down and one across, and so costs less.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.SeparableDepthwiseConv2D(1, kernel_shape=3)(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 16, 16, 2]))
    >>> [params[name]["w"].shape for name in params]
    [(3, 1, 1, 2), (1, 3, 1, 2)]

    Args:
      channel_multiplier: how many output channels there are for each input channel.
      kernel_shape: the size of the kernel, for both axes or for each.
      stride: the step between outputs, for both axes or for each.
      padding: see `DepthwiseConvND`.
      with_bias: whether there is a bias.
      w_init: the initializer of both `w`; see `DepthwiseConvND`.
      b_init: the initializer of `b`; None for zeros.
      data_format: see `DepthwiseConvND`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: an option has no meaning.
    """

    def __init__(
        self,
        channel_multiplier: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        rows, columns = replicate(kernel_shape, 2, "kernel_shape")
        # Left out if it says nothing, so that the layers look as they do in dm-haiku.
        kept: dict[str, Any] = {} if param_dtype is None else {"param_dtype": param_dtype}
        self._down = DepthwiseConv2D(
            channel_multiplier,
            (rows, 1),
            stride,
            padding=padding,
            with_bias=False,
            w_init=w_init,
            data_format=data_format,
            **kept,
        )
        self._across = DepthwiseConv2D(
            1,
            (1, columns),
            padding=padding,
            with_bias=with_bias,
            w_init=w_init,
            b_init=b_init,
            data_format=data_format,
            **kept,
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns the convolution of each channel of `inputs`.

        Args:
          inputs: `[N, H, W, C]`, or as `data_format` says; N may be left out.

        Returns:
          An array of the same layout with `C * channel_multiplier` channels.

        Raises:
          LayerError: the shape does not fit.
        """
        return self._across(self._down(inputs))
