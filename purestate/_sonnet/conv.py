"""Convolutions in one to three dimensions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from purestate._layers.conv import conv_dimension_numbers
from purestate._ops.convolutions import Padding as PlainPadding
from purestate._ops.convolutions import conv_general_dilated, hashable_padding
from purestate._sonnet import pad
from purestate._sonnet.checks import (
    as_array,
    channel_index,
    check_bias_init,
    check_input,
    check_rank,
    replicate,
    wrong_count,
    wrong_padding,
)
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable

Sizes = int | Sequence[int]
Padding = str | Callable[[int], Sequence[int]] | Sequence[Callable[[int], Sequence[int]]]


def add_channel_bias(out: jax.Array, bias: jax.Array, channels: int) -> jax.Array:
    """Adds a bias for each channel to `[N, ..., C]`, or to `[N, C, ...]` if `channels` is 1."""
    if channels == 1:
        bias = bias.reshape(bias.shape + (1,) * (out.ndim - 2))
    return out + bias


class ConvND(Module):
    """A convolution; see `Conv2D`.

    Args:
      num_spatial_dims: the number of spatial axes, 1 to 3.
      output_channels: the number of output channels.
      kernel_shape: the size of the kernel, for all axes or for each.
      stride: the step between outputs, for all axes or for each.
      rate: the step between the inputs of one output (dilation), for all axes or for each.
      padding: "SAME", "VALID", or functions of `snt.pad`.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      data_format: the position of the channels, such as "NHWC" or "channels_first".
      name: the name of the module.

    Attributes:
      w: the kernel `[*spatial, in, out]`, after the first call.
      b: the bias `[out]`.

    Raises:
      SonnetValueError: an option is invalid.
    """

    w: Variable
    b: Variable

    def __init__(
        self,
        num_spatial_dims: int,
        output_channels: int,
        kernel_shape: Sizes,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        check_bias_init(self, with_bias, b_init)
        self._num_spatial_dims = num_spatial_dims
        self.output_channels = output_channels
        self.kernel_shape = kernel_shape
        self.stride = stride
        self.rate = rate
        # Functions give the padding themselves, so the convolution gets none.
        self.conv_padding: str = padding.upper() if isinstance(padding, str) else "VALID"
        self.padding_func: Any = None if isinstance(padding, str) else padding
        self.data_format = data_format
        self._channel_index = channel_index(data_format)
        self.with_bias = with_bias
        self.w_init = w_init
        if with_bias:
            self.b_init = Zeros() if b_init is None else b_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_rank(self, inputs, self._num_spatial_dims + 2)
        self.input_channels = inputs.shape[self._channel_index]
        kernel = replicate(self, self.kernel_shape, self._num_spatial_dims, "kernel_shape")
        if self.w_init is None:
            fan_in = math.prod(kernel) * self.input_channels
            self.w_init = TruncatedNormal(stddev=1 / math.sqrt(fan_in))
        shape = (*kernel, self.input_channels, self.output_channels)
        self.w = Variable.create("w", shape, inputs.dtype, self.w_init)
        if self.with_bias:
            self.b = Variable.create("b", shape[-1:], inputs.dtype, self.b_init)
        if self.padding_func:
            self._padding = pad.create(
                padding=self.padding_func,
                kernel=self.kernel_shape,
                rate=self.rate,
                n=self._num_spatial_dims,
                channel_index=self._channel_index,
            )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Convolves an input.

        Args:
          inputs: `[N, *spatial, C]` or `[N, C, *spatial]`, as `data_format` says.

        Returns:
          An array of the same layout with `output_channels` channels.

        Raises:
          SonnetValueError: the shape or dtype does not fit.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        check_rank(self, inputs, self._num_spatial_dims + 2)
        w = as_array(self.w)
        check_input(self, inputs, w, self.input_channels, self._channel_index)
        stride, rate = (
            one_for_each(self, sizes, name)
            for sizes, name in ((self.stride, "stride"), (self.rate, "rate"))
        )
        if max(stride) > 1 and max(rate) > 1:
            kind = type(self).__name__
            raise SonnetValueError(
                f"{kind} {self.module_name!r}: TensorFlow has no convolution with both"
                f" stride={self.stride} and rate={self.rate}. Use one of them, or ps.{kind}."
            )
        out = conv_general_dilated(
            inputs,
            w,
            window_strides=stride,
            padding=self._spatial_padding(),
            rhs_dilation=rate,
            dimension_numbers=conv_dimension_numbers(
                self._num_spatial_dims, self._channel_index == -1, transpose=False
            ),
        )
        if self.with_bias:
            out = add_channel_bias(out, as_array(self.b), self._channel_index)
        return out

    def _spatial_padding(self) -> PlainPadding:
        if not self.padding_func:
            if self.conv_padding not in ("SAME", "VALID"):
                others = ", or a function such as snt.pad.causal"
                raise SonnetValueError(wrong_padding(self, self.conv_padding, others))
            return self.conv_padding
        first = 2 if self._channel_index == 1 else 1
        pairs = self._padding[first : first + self._num_spatial_dims]
        return hashable_padding([(int(before), int(after)) for before, after in pairs])


def one_for_each(module: Any, sizes: Sizes, name: str) -> tuple[int, ...]:
    """Returns one size for each spatial axis of a convolution."""
    count: int = module._num_spatial_dims
    if isinstance(sizes, Sequence) and len(sizes) not in (1, count):
        raise SonnetValueError(wrong_count(module, sizes, count, name))
    return replicate(module, sizes, count, name)


class Conv1D(ConvND):
    """A convolution over one axis; see `ConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv1D(8, kernel_shape=3)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 16, 3]))[0])
    {'conv1_d': {'b': (8,), 'w': (3, 3, 8)}}
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        name: str | None = None,
    ):
        super().__init__(
            1, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip


class Conv2D(ConvND):
    """A convolution over two axes.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv2D(8, kernel_shape=3, stride=2)(x))
    >>> x = jnp.ones([1, 16, 16, 3])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> f.apply(params, state, None, x)[0].shape
    (1, 8, 8, 8)

    See `ConvND` for the arguments.
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        name: str | None = None,
    ):
        super().__init__(
            2, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip


class Conv3D(ConvND):
    """A convolution over three axes; see `ConvND`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Conv3D(4, kernel_shape=3)(x))
    >>> x = jnp.ones([1, 4, 4, 4, 2])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> f.apply(params, state, None, x)[0].shape
    (1, 4, 4, 4, 4)
    """

    def __init__(
        self,
        output_channels: int,
        kernel_shape: Sizes,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        name: str | None = None,
    ):
        super().__init__(
            3, output_channels, kernel_shape, stride, rate, padding,
            with_bias, w_init, b_init, data_format, name,
        )  # fmt: skip
