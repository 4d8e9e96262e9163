"""Convolutions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers import padding as pad
from purestate._layers.axes import get_channel_index, sizes_of_axes
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.linear import add_bias
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.convolutions import conv_general_dilated, hashable_padding

Padding = str | Sequence[tuple[int, int]] | pad.PadFn | Sequence[pad.PadFn]


def conv_dimension_numbers(
    num_spatial_dims: int, channels_last: bool, transpose: bool
) -> lax.ConvDimensionNumbers:
    """How the axes of images and kernels are laid out.

    Images are `[N, *spatial, C]` or `[N, C, *spatial]`; kernels `[*spatial, in, out]`, or
    `[*spatial, out, in]` for transposed convolutions.
    """
    rank = num_spatial_dims + 2
    if channels_last:
        image = (0, rank - 1, *range(1, rank - 1))
    else:
        image = tuple(range(rank))
    features = (rank - 2, rank - 1) if transpose else (rank - 1, rank - 2)
    kernel = (*features, *range(num_spatial_dims))
    return lax.ConvDimensionNumbers(lhs_spec=image, rhs_spec=kernel, out_spec=image)


def with_batch(layer: Module, inputs: ArrayLike, num_spatial_dims: int) -> tuple[jax.Array, bool]:
    """Returns `inputs` with a batch axis, and whether it had to be added."""
    inputs = jnp.asarray(inputs)
    rank = num_spatial_dims + 2
    if inputs.ndim not in (rank, rank - 1):
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r} needs an input of {rank} axes (or"
            f" {rank - 1}, without a batch), got shape {inputs.shape}."
        )
    if inputs.ndim == rank:
        return inputs, False
    return jnp.expand_dims(inputs, 0), True


PADDED_WITH = {"CIRCULAR": "wrap", "REFLECT": "reflect"}
"""Paddings that repeat the input, and their modes of `jax.numpy.pad`."""


def check_padding(layer: Module, padding: str) -> str:
    """Returns the name of a padding in upper case; raises if there is none."""
    if padding.upper() not in ("SAME", "VALID", "SAME_LOWER", *PADDED_WITH):
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r}: padding has to be 'SAME', 'VALID',"
            " 'CIRCULAR', 'REFLECT', pairs (before, after), or a function such as ps.pad.causal;"
            f" got {padding!r}."
        )
    return padding.upper()


def padded(layer: Any, inputs: jax.Array, rate: Sequence[int]) -> tuple[jax.Array, Any]:
    """Returns what a convolution takes as inputs and padding.

    Paddings that repeat the input are put around it here, as much as "SAME" with a stride of 1.
    """
    if layer.padding.__class__ is not str or layer.padding not in PADDED_WITH:
        return inputs, hashable_padding(layer.padding)
    width = [(0, 0)] * inputs.ndim
    first = 2 if layer.channel_index == 1 else 1
    for axis, (kernel, step) in enumerate(zip(layer.kernel_shape, rate, strict=True), first):
        total = (kernel - 1) * step
        width[axis] = (total // 2, total - total // 2)
        if layer.padding == "REFLECT" and width[axis][1] >= inputs.shape[axis]:
            raise LayerError(
                f"{type(layer).__name__} {layer.module_name!r}: an axis of size"
                f" {inputs.shape[axis]} cannot be reflected by {width[axis][1]} for a kernel of"
                f" {kernel}. Use padding='SAME', or a larger input."
            )
    return jnp.pad(inputs, width, mode=PADDED_WITH[layer.padding]), "VALID"


def check_mask(layer: Module, mask: Any, w_shape: tuple[int, ...]) -> None:
    """Raises unless the mask has the shape of the weights."""
    if mask is None:
        return
    try:
        shape = mask.shape
    except AttributeError:
        raise not_an_array(layer, mask, "its mask") from None
    if shape != w_shape:
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r} has weights of shape {w_shape}, but a"
            f" mask of shape {shape}; they have to be the same."
        )


def conv_bias(layer: Any, out: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Adds the bias `b` of a convolution, one value per output channel."""
    shape: tuple[int, ...] = (out.shape[layer.channel_index],)
    if layer.channel_index == 1:
        shape += (1,) * layer.num_spatial_dims
    return add_bias(
        out,
        get_parameter_kept_in(getattr(layer, "param_dtype", None), "b", shape, dtype, layer.b_init),
    )


class ConvND(Module):
    """A convolution over any number of spatial axes.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvND(2, 8, kernel_shape=3)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 16, 3])))
    {'conv_nd': {'b': (8,), 'w': (3, 3, 3, 8)}}

    Args:
      num_spatial_dims: how many axes to convolve over.
      output_channels: the number of output channels.
      kernel_shape: the size of the kernel, for all axes or for each.
      stride: the step between outputs, for all axes or for each.
      rate: the step between the inputs of one output (dilation), for all axes or for each.
      padding: "SAME", "VALID", pairs (before, after), or functions of `purestate.pad`; "CIRCULAR"
        and "REFLECT" repeat the input around it, as far as "SAME" pads with a stride of 1.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      data_format: where the channels are: "channels_last", "channels_first", or such as "NHWC".
      mask: a factor for the weights, of their shape.
      feature_group_count: into how many groups the channels are split.
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
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "channels_last",
        mask: ArrayLike | None = None,
        feature_group_count: int = 1,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.param_dtype = param_dtype
        if num_spatial_dims <= 0:
            raise LayerError(
                "A convolution needs at least one spatial axis, got"
                f" num_spatial_dims={num_spatial_dims}."
            )
        self.num_spatial_dims = num_spatial_dims
        self.output_channels = output_channels
        self.kernel_shape = sizes_of_axes(kernel_shape, num_spatial_dims, "kernel_shape")
        self.with_bias = with_bias
        self.stride = sizes_of_axes(stride, num_spatial_dims, "stride")
        self.w_init = w_init
        self.b_init = b_init or jnp.zeros
        self.mask = mask
        if feature_group_count < 1:
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r}: feature_group_count is into how many"
                f" groups the channels are split, at least 1; got {feature_group_count}."
            )
        self.feature_group_count = feature_group_count
        self.lhs_dilation = (1,) * num_spatial_dims
        self.kernel_dilation = sizes_of_axes(rate, num_spatial_dims, "rate")
        self.data_format = data_format
        self.channel_index = get_channel_index(data_format)
        self.dimension_numbers = conv_dimension_numbers(
            num_spatial_dims, self.channel_index == -1, transpose=False
        )
        self.padding: Any
        if isinstance(padding, str):
            self.padding = check_padding(self, padding)
        else:
            self.padding = pad.create(
                padding, self.kernel_shape, self.kernel_dilation, num_spatial_dims
            )

    def __call__(
        self,
        inputs: jax.Array,
        *,
        precision: lax.PrecisionLike = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns the convolution of `inputs`.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says; N may be left
            out.
          precision: see `jax.lax.conv_general_dilated`.
          out_sharding: the sharding of the product on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          An array of the same layout with `output_channels` channels.

        Raises:
          LayerError: the shape does not fit.
        """
        inputs, unbatched = with_batch(self, inputs, self.num_spatial_dims)
        channels = inputs.shape[self.channel_index]
        if channels % self.feature_group_count:
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r}: {channels} input channels cannot be"
                f" split into feature_group_count={self.feature_group_count} groups of one size."
            )
        if self.output_channels % self.feature_group_count:
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r}:"
                f" output_channels={self.output_channels} cannot be split into"
                f" feature_group_count={self.feature_group_count} groups of one size."
            )
        w_shape = (*self.kernel_shape, channels // self.feature_group_count, self.output_channels)
        check_mask(self, self.mask, w_shape)
        w = get_parameter_kept_in(
            self.param_dtype, "w", w_shape, inputs.dtype, self.w_init or truncated_fan_in
        )
        if self.mask is not None:
            w = w * self.mask
        inputs, padding = padded(self, inputs, self.kernel_dilation)
        out = conv_general_dilated(
            inputs,
            w,
            self.stride,
            padding,
            self.lhs_dilation,
            self.kernel_dilation,
            self.dimension_numbers,
            self.feature_group_count,
            precision,
            None,
            out_sharding,
        )
        if self.with_bias:
            out = conv_bias(self, out, inputs.dtype)
        return jnp.squeeze(out, 0) if unbatched else out


class Conv1D(ConvND):
    """A convolution over one axis; see `ConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv1D(8, kernel_shape=3)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 3])))
    {'conv1_d': {'b': (8,), 'w': (3, 3, 8)}}
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        mask: ArrayLike | None = None,
        feature_group_count: int = 1,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            1, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, mask, feature_group_count, name,
            param_dtype=param_dtype,
        )  # fmt: skip


class Conv2D(ConvND):
    """A convolution over two axes; see `ConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv2D(8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 8, 8, 8)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        mask: ArrayLike | None = None,
        feature_group_count: int = 1,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            2, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, mask, feature_group_count, name,
            param_dtype=param_dtype,
        )  # fmt: skip


class Conv3D(ConvND):
    """A convolution over three axes; see `ConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Conv3D(4, kernel_shape=3)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 2])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 4, 4, 4, 4)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        mask: ArrayLike | None = None,
        feature_group_count: int = 1,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            3, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, mask, feature_group_count, name,
            param_dtype=param_dtype,
        )  # fmt: skip
