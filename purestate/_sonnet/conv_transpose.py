"""Transposed convolutions in one to three dimensions, with TensorFlow's kernels."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._layers.conv import conv_dimension_numbers
from purestate._ops.convolutions import Padding
from purestate._ops.operation import operation
from purestate._sonnet.checks import (
    as_array,
    channel_index,
    check_bias_init,
    check_input,
    check_rank,
    replicate,
    wrong_padding,
)
from purestate._sonnet.conv import Sizes, add_channel_bias, one_for_each
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable


@operation("conv_transpose", operands=2)
def _transposed(
    lhs: jax.Array,
    rhs: jax.Array,
    strides: tuple[int, ...],
    padding: Padding,
    rhs_dilation: tuple[int, ...] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = True,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """What `lax.conv_transpose` returns, without moving the axes of the kernel.

    An interceptor sees the kernel as Sonnet has it: that of the convolution, to be flipped and with
    its channels exchanged.
    """
    out_axis, in_axis, *spatial = dimension_numbers.rhs_spec
    if transpose_kernel:
        rhs, out_axis, in_axis = jnp.flip(rhs, spatial), in_axis, out_axis
    return lax.conv_general_dilated(
        lhs,
        rhs,
        (1,) * len(spatial),
        padding,
        strides,
        rhs_dilation,
        dimension_numbers._replace(rhs_spec=(out_axis, in_axis, *spatial)),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


class ConvNDTranspose(Module):
    """A transposed convolution: the gradient of a convolution; see `Conv2DTranspose`.

    The kernel is that of the convolution, as in TensorFlow. `ps.ConvNDTranspose` has it flipped
    along each spatial axis.

    Args:
      num_spatial_dims: the number of spatial axes, 1 to 3.
      output_channels: the number of output channels.
      kernel_shape: the size of the kernel, for all axes or for each.
      output_shape: the spatial shape of the output; None for `inputs * stride`, and `kernel - 1`
        more without padding.
      stride: how many outputs there are for an input, for all axes or for each.
      rate: the dilation of the kernel, for all axes or for each.
      padding: "SAME" or "VALID".
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      data_format: the position of the channels, such as "NHWC" or "channels_first".
      name: the name of the module.

    Attributes:
      w: the kernel `[*spatial, out, in]`, after the first call.
      b: the bias `[out]`.

    Raises:
      SonnetTypeError: another padding.
      SonnetValueError: another option is invalid.
    """

    w: Variable
    b: Variable

    def __init__(
        self,
        num_spatial_dims: int,
        output_channels: int,
        kernel_shape: Sizes,
        output_shape: Sequence[int] | None = None,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: str = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if padding not in ("SAME", "VALID"):
            raise SonnetTypeError(wrong_padding(self, padding))
        check_bias_init(self, with_bias, b_init)
        self._num_spatial_dims = num_spatial_dims
        self._output_channels = output_channels
        self._kernel_shape = kernel_shape
        self._output_shape = output_shape
        self._stride = stride
        self._rate = rate
        self._padding = padding
        self._data_format = data_format
        self._channel_index = channel_index(data_format)
        self._with_bias = with_bias
        self._w_init = w_init
        if with_bias:
            self._b_init = Zeros() if b_init is None else b_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_rank(self, inputs, self._num_spatial_dims + 2)
        self.input_channels = inputs.shape[self._channel_index]
        if self._output_shape is not None and len(self._output_shape) != self._num_spatial_dims:
            raise SonnetValueError(
                f"{type(self).__name__} {self.module_name!r}: output_shape takes the spatial sizes,"
                f" without batch and channels. It needs {self._num_spatial_dims}; got"
                f" {list(self._output_shape)}."
            )
        kernel = replicate(self, self._kernel_shape, self._num_spatial_dims, "kernel_shape")
        if self._w_init is None:
            fan_in = math.prod(kernel) * self.input_channels
            self._w_init = TruncatedNormal(stddev=1 / math.sqrt(fan_in))
        shape = (*kernel, self._output_channels, self.input_channels)
        self.w = Variable.create("w", shape, inputs.dtype, self._w_init)
        if self._with_bias:
            self.b = Variable.create("b", (self._output_channels,), inputs.dtype, self._b_init)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Convolves an input, transposed.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says.

        Returns:
          An array of the same layout with `output_channels` channels.

        Raises:
          SonnetValueError: the shape or dtype does not fit, or no input gives `output_shape`.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        check_rank(self, inputs, self._num_spatial_dims + 2)
        w = as_array(self.w)
        check_input(self, inputs, w, self.input_channels, self._channel_index)
        dims = self._num_spatial_dims
        stride = one_for_each(self, self._stride, "stride")
        rate = one_for_each(self, self._rate, "rate")
        sizes = inputs.shape[2:] if self._channel_index == 1 else inputs.shape[1:-1]
        kernel = [(size - 1) * step + 1 for size, step in zip(w.shape[:dims], rate, strict=True)]
        out = _transposed(
            inputs,
            w,
            stride,
            tuple(self._pad(*of_axis) for of_axis in self._axes(sizes, kernel, stride)),
            rate,
            conv_dimension_numbers(dims, self._channel_index == -1, transpose=False),
        )
        if self._with_bias:
            out = add_channel_bias(out, as_array(self.b), self._channel_index)
        return out

    def _axes(
        self, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
    ) -> list[tuple[int, int, int, int]]:
        """Returns the sizes of input, output, kernel and stride for each axis."""
        more = [0 if self._padding == "SAME" else size - 1 for size in kernel]
        usual = [n * step + m for n, step, m in zip(sizes, stride, more, strict=True)]
        outputs = usual if self._output_shape is None else self._output_shape
        return list(zip(sizes, outputs, kernel, stride, strict=True))

    def _pad(self, inputs: int, outputs: int, kernel: int, stride: int) -> tuple[int, int]:
        """Returns the padding of the inputs, which have `stride - 1` zeros between them.

        The convolution that is transposed goes from `outputs` to `inputs`. If it pads by `p` in
        front, this one pads by `kernel - 1 - p`.
        """
        same = self._padding == "SAME"
        most = inputs * stride + (0 if same else kernel - 1)
        if not most - stride < outputs <= most:
            possible = str(most) if stride == 1 else f"{most - stride + 1} to {most}"
            raise SonnetValueError(
                f"{type(self).__name__} {self.module_name!r}: {inputs} inputs become {possible}"
                f" outputs, with kernel {kernel}, stride {stride} and padding {self._padding!r};"
                f" got {outputs} in output_shape."
            )
        between = (inputs - 1) * stride + 1
        front = max(between - 1 + kernel - outputs, 0) // 2 if same else 0
        before = kernel - 1 - front
        return before, outputs + kernel - 1 - between - before


class Conv1DTranspose(ConvNDTranspose):
    """A transposed convolution over one axis; see `ConvNDTranspose`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv1DTranspose(8, 3, stride=2)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 5]))[0])
    {'conv1_d_transpose': {'b': (8,), 'w': (3, 8, 5)}}
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        output_shape: Sequence[int] | None = None,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: str = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        name: str | None = None,
    ):
        super().__init__(
            1, output_channels, kernel_shape, output_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip


class Conv2DTranspose(ConvNDTranspose):
    """A transposed convolution over two axes.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv2DTranspose(8, 3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> f.apply(params, state, None, x)[0].shape
    (1, 32, 32, 8)

    See `ConvNDTranspose` for the arguments.
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        output_shape: Sequence[int] | None = None,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: str = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        name: str | None = None,
    ):
        super().__init__(
            2, output_channels, kernel_shape, output_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip


class Conv3DTranspose(ConvNDTranspose):
    """A transposed convolution over three axes; see `ConvNDTranspose`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv3DTranspose(4, 3)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 2])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> f.apply(params, state, None, x)[0].shape
    (1, 4, 4, 4, 4)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        output_shape: Sequence[int] | None = None,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: str = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        name: str | None = None,
    ):
        super().__init__(
            3, output_channels, kernel_shape, output_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip
