"""Transposed convolutions."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.axes import get_channel_index, replicate, sizes_of_axes
from purestate._layers.conv import check_mask, conv_bias, conv_dimension_numbers, with_batch
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import TruncatedNormal
from purestate._layers.padding import is_padfn
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.convolutions import conv_transpose, hashable_padding


def _truncated_fan_in(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
    """The default of weights `[*kernel, out, in]`: truncated normal, stddev `1 / sqrt(fan_in)`."""
    fan_in = math.prod(shape[:-2]) * shape[-1]
    return TruncatedNormal(stddev=1.0 / np.sqrt(fan_in))(shape, dtype)


def _padding_for(
    layer: Any, inputs: int, outputs: int, kernel: int, stride: int
) -> tuple[int, int]:
    """How much to pad one axis of the inputs to get `outputs`.

    Between the inputs there are `stride - 1` zeros. The convolution that is transposed goes from
    `outputs` to `inputs`. If it pads by p in front, this one pads by `kernel - 1 - p`. The rest is
    padded behind.
    """
    same = layer.padding.upper() == "SAME"
    expected = -(-(outputs if same else outputs - kernel + 1) // stride)
    if inputs != expected:
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r}: a convolution of kernel size {kernel},"
            f" stride {stride} and padding {layer.padding!r} makes {expected} of"
            f" output_shape={outputs}, so that many inputs are needed; got {inputs}."
        )
    between = (inputs - 1) * stride + 1  # the inputs, and the zeros between them
    front = max(0, between - 1 + kernel - outputs) // 2 if same else 0
    before = kernel - 1 - front
    return before, outputs + kernel - 1 - between - before


class ConvNDTranspose(Module):
    """A transposed convolution over any number of spatial axes: a `ConvND` backwards.

    Zeiler et al. 2010, "Deconvolutional networks", CVPR.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvNDTranspose(2, 8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params), f.apply(params, None, x).shape
    ({'conv_nd_transpose': {'b': (8,), 'w': (3, 3, 8, 3)}}, (1, 32, 32, 8))

    Args:
      num_spatial_dims: how many axes to convolve over.
      output_channels: the number of output channels.
      kernel_shape: the size of the kernel, for all axes or for each.
      stride: how many outputs there are for an input, for all axes or for each.
      output_shape: the size of the output, for all spatial axes or for each, where the stride
        leaves several to choose from; None for the usual.
      padding: "SAME", "VALID", or pairs (before, after) for the inputs, with zeros between them.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      data_format: where the channels are: "channels_last", "channels_first", or such as "NHWC".
      mask: a factor for the weights, of their shape.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: an option has no meaning.
    """

    def __init__(
        self,
        num_spatial_dims: int,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        output_shape: int | Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "channels_last",
        mask: ArrayLike | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.param_dtype = param_dtype
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        if num_spatial_dims <= 0:
            raise LayerError(
                "A convolution needs at least one spatial axis, got"
                f" num_spatial_dims={num_spatial_dims}."
            )
        if isinstance(padding, str):
            padding = padding.upper()
            if padding not in ("SAME", "VALID"):
                raise LayerError(
                    f"{type(self).__name__}: padding has to be 'SAME', 'VALID' or pairs, got"
                    f" {padding!r}."
                )
        elif is_padfn(padding):
            raise LayerError(
                f"{type(self).__name__}: the functions of `purestate.pad` are for plain"
                " convolutions. Give 'SAME', 'VALID', or for each axis a pair (before, after)."
            )
        elif output_shape is not None:
            raise LayerError(
                f"{type(self).__name__}: with output_shape, padding has to be 'SAME' or 'VALID',"
                f" got {padding}."
            )
        self.num_spatial_dims = num_spatial_dims
        self.output_channels = output_channels
        self.kernel_shape = sizes_of_axes(kernel_shape, num_spatial_dims, "kernel_shape")
        if output_shape is not None:
            output_shape = replicate(output_shape, num_spatial_dims, "output_shape")
        self.output_shape: Any = output_shape
        self.with_bias = with_bias
        self.stride = sizes_of_axes(stride, num_spatial_dims, "stride")
        self.w_init = w_init
        self.b_init = b_init or jnp.zeros
        self.mask = mask
        self.padding = padding
        self.data_format = data_format
        self.channel_index = get_channel_index(data_format)
        self.dimension_numbers = conv_dimension_numbers(
            num_spatial_dims, self.channel_index == -1, transpose=True
        )

    def __call__(self, inputs: jax.Array, *, precision: lax.PrecisionLike = None) -> jax.Array:
        """Returns the transposed convolution of `inputs`.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says; N may be left
            out.
          precision: see `jax.lax.conv_general_dilated`.

        Returns:
          An array of the same layout with `output_channels` channels.

        Raises:
          LayerError: the shape does not fit.
        """
        inputs, unbatched = with_batch(self, inputs, self.num_spatial_dims)
        w_shape = (*self.kernel_shape, self.output_channels, inputs.shape[self.channel_index])
        check_mask(self, self.mask, w_shape)
        w = get_parameter_kept_in(
            self.param_dtype, "w", w_shape, inputs.dtype, self.w_init or _truncated_fan_in
        )
        if self.mask is not None:
            w = w * self.mask
        padding: Any = self.padding
        if self.output_shape is not None:
            spatial = inputs.shape[2:] if self.channel_index == 1 else inputs.shape[1:-1]
            padding = [
                _padding_for(self, *sizes)
                for sizes in zip(
                    spatial, self.output_shape, self.kernel_shape, self.stride, strict=True
                )
            ]
        out = conv_transpose(
            inputs,
            w,
            self.stride,
            hashable_padding(padding),
            dimension_numbers=self.dimension_numbers,
            precision=precision,
        )
        if self.with_bias:
            out = conv_bias(self, out, inputs.dtype)
        return jnp.squeeze(out, 0) if unbatched else out


class Conv1DTranspose(ConvNDTranspose):
    """A transposed convolution over one axis; see `ConvNDTranspose`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv1DTranspose(8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 32, 8)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        output_shape: int | Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        mask: ArrayLike | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            1, output_channels, kernel_shape, stride, output_shape, padding,
            with_bias, w_init, b_init, data_format, mask, name, param_dtype=param_dtype,
        )  # fmt: skip


class Conv2DTranspose(ConvNDTranspose):
    """A transposed convolution over two axes; see `ConvNDTranspose`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv2DTranspose(8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 32, 32, 8)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        output_shape: int | Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        mask: ArrayLike | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            2, output_channels, kernel_shape, stride, output_shape, padding,
            with_bias, w_init, b_init, data_format, mask, name, param_dtype=param_dtype,
        )  # fmt: skip


class Conv3DTranspose(ConvNDTranspose):
    """A transposed convolution over three axes; see `ConvNDTranspose`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv3DTranspose(8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 8, 8, 8, 8)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        output_shape: int | Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        mask: ArrayLike | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            3, output_channels, kernel_shape, stride, output_shape, padding,
            with_bias, w_init, b_init, data_format, mask, name, param_dtype=param_dtype,
        )  # fmt: skip
