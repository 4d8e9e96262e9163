"""A convolution of each channel by itself."""

import math

import jax

from purestate._core.parameters_read import note_same_parameter
from purestate._layers.conv import conv_dimension_numbers
from purestate._ops.convolutions import conv_general_dilated
from purestate._sonnet.checks import (
    as_array,
    channel_index,
    check_bias_init,
    check_input,
    check_rank,
    replicate,
    wrong_padding,
)
from purestate._sonnet.conv import Sizes, add_channel_bias
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable


class DepthwiseConv2D(Module):
    """Convolves each channel with kernels of its own.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.DepthwiseConv2D(3, channel_multiplier=2)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([1, 8, 8, 5]))[0])
    {'depthwise_conv2_d': {'b': (10,), 'w': (3, 3, 5, 2)}}

    Args:
      kernel_shape: the size of the kernel, for both axes or for each.
      channel_multiplier: the number of output channels for each input channel.
      stride: the step between outputs, for both axes or for each.
      rate: the step between the inputs of one output (dilation), for both axes or for each.
      padding: "SAME" or "VALID".
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(fan_in)`.
      b_init: the initializer of `b`; None for zeros.
      data_format: the position of the channels, such as "NHWC" or "channels_first".
      name: the name of the module.

    Attributes:
      w: the kernels `[height, width, in, channel_multiplier]`, after the first call.
      b: the bias `[in * channel_multiplier]`.

    Raises:
      SonnetValueError: `b_init` without a bias.
    """

    w: Variable
    b: Variable

    def __init__(
        self,
        kernel_shape: Sizes,
        channel_multiplier: int = 1,
        stride: Sizes = 1,
        rate: Sizes = 1,
        padding: str = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        name: str | None = None,
    ):
        super().__init__(name=name)
        check_bias_init(self, with_bias, b_init)
        self.channel_multiplier = channel_multiplier
        self.kernel_shape = kernel_shape
        self.data_format = data_format
        self._channel_index = channel_index(data_format)
        steps = replicate(self, stride, 2, "stride")
        self.stride = (1, 1, *steps) if self._channel_index == 1 else (1, *steps, 1)
        self.rate = replicate(self, rate, 2, "rate")
        self.padding = padding
        self.with_bias = with_bias
        self.w_init = w_init
        if with_bias:
            self.b_init = Zeros() if b_init is None else b_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_rank(self, inputs, 4)
        self.input_channels = inputs.shape[self._channel_index]
        kernel = replicate(self, self.kernel_shape, 2, "kernel_shape")
        if self.w_init is None:
            self.w_init = TruncatedNormal(stddev=1 / math.sqrt(math.prod(kernel)))
        shape = (*kernel, self.input_channels, self.channel_multiplier)
        self.w = Variable.create("w", shape, inputs.dtype, self.w_init)
        if self.with_bias:
            size = self.input_channels * self.channel_multiplier
            self.b = Variable.create("b", (size,), inputs.dtype, self.b_init)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Convolves an input.

        Args:
          inputs: `[N, H, W, C]` or `[N, C, H, W]`, as `data_format` says.

        Returns:
          An array of the same layout with `C * channel_multiplier` channels.

        Raises:
          SonnetValueError: the shape or dtype does not fit.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        check_rank(self, inputs, 4)
        w = as_array(self.w)
        check_input(self, inputs, w, self.input_channels, self._channel_index)
        if not isinstance(self.padding, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SonnetTypeError(wrong_padding(self, self.padding))
        if self.padding not in ("SAME", "VALID"):
            raise SonnetValueError(wrong_padding(self, self.padding))
        kernel = w.reshape(*w.shape[:2], 1, -1)
        note_same_parameter(kernel, w)
        out = conv_general_dilated(
            inputs,
            kernel,
            window_strides=self.stride[2:] if self._channel_index == 1 else self.stride[1:3],
            padding=self.padding,
            rhs_dilation=self.rate,
            dimension_numbers=conv_dimension_numbers(2, self._channel_index == -1, transpose=False),
            feature_group_count=self.input_channels,
        )
        if self.with_bias:
            out = add_channel_bias(out, as_array(self.b), self._channel_index)
        return out
