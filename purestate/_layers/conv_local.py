"""Convolutions whose kernel is another one at each position."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers import padding as pad
from purestate._layers.axes import get_channel_index, sizes_of_axes
from purestate._layers.conv import Padding, check_padding, conv_dimension_numbers, with_batch
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.linear import add_bias
from purestate._layers.one_by_one import one_by_one
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.products import dot_general


class ConvLocalND(Module):
    """A convolution with a kernel of its own for each output position.

    It is also called a locally connected layer. Each output depends on a window of the input, as in
    `ConvND`, but no two outputs share weights, so the layer takes inputs of one size. LeCun 1989,
    "Generalization and network design strategies"; Taigman et al. 2014, "DeepFace".

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvLocalND(2, 8, kernel_shape=3, padding="VALID")(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 6, 5, 2])))
    {'conv_local_nd': {'b': (4, 3, 8), 'w': (4, 3, 3, 3, 2, 8)}}

    Args:
      num_spatial_dims: how many axes to convolve over.
      output_channels: the number of output channels.
      kernel_shape: the size of the kernels, for all axes or for each.
      stride: the step between outputs, for all axes or for each.
      rate: the step between the inputs of one output (dilation), for all axes or for each.
      padding: "SAME", "VALID", pairs (before, after), or functions of `purestate.pad`.
      with_bias: whether there is a bias, `[*positions, output_channels]`.
      w_init: the initializer of the kernel of one position, `[*kernel_shape, channels,
        output_channels]`; None for a truncated normal of stddev `1 / sqrt(fan_in)`. `w` has the
        kernels of all positions, `[*positions, *kernel_shape, channels, output_channels]`.
      b_init: the initializer of `b`; None for zeros.
      data_format: the place of the channels: "channels_last", "channels_first", or such as "NHWC".
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
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        if num_spatial_dims <= 0:
            raise LayerError(
                "A convolution needs at least one spatial axis, got"
                f" num_spatial_dims={num_spatial_dims}."
            )
        self.num_spatial_dims = num_spatial_dims
        self.output_channels = output_channels
        self.kernel_shape = sizes_of_axes(kernel_shape, num_spatial_dims, "kernel_shape")
        self.stride = sizes_of_axes(stride, num_spatial_dims, "stride")
        self.rate = sizes_of_axes(rate, num_spatial_dims, "rate")
        self.with_bias = with_bias
        self.w_init = w_init or truncated_fan_in
        self.b_init = b_init or jnp.zeros
        self.data_format = data_format
        self.channel_index = get_channel_index(data_format)
        self.param_dtype = param_dtype
        self.padding: Any
        if isinstance(padding, str):
            self.padding = check_padding(self, padding)
        else:
            self.padding = pad.create(padding, self.kernel_shape, self.rate, num_spatial_dims)

    def _windows(self, inputs: jax.Array, precision: Any) -> jax.Array:
        """What each output sees, `[N, *positions, C, *kernel_shape]`."""
        n = self.num_spatial_dims
        image = conv_dimension_numbers(n, self.channel_index == -1, transpose=False)
        channels_last = conv_dimension_numbers(n, True, transpose=False)
        windows = lax.conv_general_dilated_patches(
            inputs,
            self.kernel_shape,
            self.stride,
            self.padding,
            rhs_dilation=self.rate,
            dimension_numbers=image._replace(out_spec=channels_last.out_spec),
            precision=precision,
        )
        channels = inputs.shape[self.channel_index]
        return windows.reshape(*windows.shape[:-1], channels, *self.kernel_shape)

    def __call__(self, inputs: jax.Array, *, precision: lax.PrecisionLike = None) -> jax.Array:
        """Returns the convolution of `inputs`.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says; N may be left
            out.
          precision: see `jax.lax.dot_general`.

        Returns:
          An array of the same layout with `output_channels` channels.

        Raises:
          LayerError: the shape does not fit.
        """
        n = self.num_spatial_dims
        inputs, unbatched = with_batch(self, inputs, n)
        windows = self._windows(inputs, precision)
        positions, channels = windows.shape[1 : n + 1], windows.shape[n + 1]
        if not math.prod(positions):
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r} has no output for an input of shape"
                f" {inputs.shape}: its kernel of shape {self.kernel_shape} is larger. Use a larger"
                " input, a smaller kernel, or padding='SAME'."
            )
        w = get_parameter_kept_in(
            self.param_dtype,
            "w",
            (*positions, *self.kernel_shape, channels, self.output_channels),
            inputs.dtype,
            one_by_one(self.w_init, n),
        )
        axes = range(2 * n + 2)
        # [N, *positions, C, *kernel] times [*positions, *kernel, C, out], for each position.
        dimension_numbers = (
            (tuple(axes[n + 1 :]), (2 * n, *axes[n : 2 * n])),
            (tuple(axes[1 : n + 1]), tuple(axes[:n])),
        )
        out = dot_general(windows, w, dimension_numbers, precision)
        out = jnp.moveaxis(out, n, 0)
        if self.with_bias:
            shape = (*positions, self.output_channels)
            out = add_bias(
                out,
                get_parameter_kept_in(self.param_dtype, "b", shape, inputs.dtype, self.b_init),
            )
        if self.channel_index == 1:
            out = jnp.moveaxis(out, -1, 1)
        return jnp.squeeze(out, 0) if unbatched else out


class ConvLocal1D(ConvLocalND):
    """A convolution over one axis with a kernel for each position; see `ConvLocalND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvLocal1D(8, kernel_shape=3, stride=2)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 3])))
    {'conv_local1_d': {'b': (8, 8), 'w': (8, 3, 3, 8)}}
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
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            1, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name, param_dtype=param_dtype,
        )  # fmt: skip


class ConvLocal2D(ConvLocalND):
    """A convolution over two axes with a kernel for each position; see `ConvLocalND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvLocal2D(4, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 8, 8, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 4, 4, 4)
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
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            2, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name, param_dtype=param_dtype,
        )  # fmt: skip


class ConvLocal3D(ConvLocalND):
    """A convolution over three axes with a kernel for each position; see `ConvLocalND`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.ConvLocal3D(2, kernel_shape=2, stride=2)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 2])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 2, 2, 2, 2)
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
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            3, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name, param_dtype=param_dtype,
        )  # fmt: skip
