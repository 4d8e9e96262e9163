"""LSTMs whose gates are convolutions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._layers.recurrent.lstm import LSTMState
from purestate._ops.inlined import inlined
from purestate._sonnet.checks import as_array
from purestate._sonnet.conv import ConvND, add_channel_bias
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, Zeros
from purestate._sonnet.once import once
from purestate._sonnet.recurrent.core import (
    RNNCore,
    check_dtype,
    created,
    hidden_and_cell,
    zeros,
)
from purestate._sonnet.recurrent.lstm import after_gates, with_forget_bias
from purestate._sonnet.variable import Variable


@inlined(static=4)
def _step(
    from_x: jax.Array, from_hidden: jax.Array, b: jax.Array, cell: jax.Array, channels: int
) -> tuple[jax.Array, jax.Array]:
    return after_gates(add_channel_bias(from_x + from_hidden, b, channels), cell, channels)


def _fit(a: jax.Array, b: jax.Array) -> bool:
    """Whether two arrays can be added, one of them perhaps with a batch of 1."""
    return a.shape[1:] == b.shape[1:] and (a.shape[0] == b.shape[0] or 1 in (len(a), len(b)))


class ConvNDLSTM(RNNCore):
    """An LSTM whose gates are convolutions, with padding "SAME"; see `Conv2DLSTM`.

    Shi et al. 2015, arXiv:1506.04214, without the weights from the cell to the gates.

    Args:
      num_spatial_dims: the number of spatial axes, 1 to 3.
      input_shape: the shape of the inputs without the batch, such as `[H, W, C]`.
      output_channels: the number of channels of the output, of `hidden` and of `cell`.
      kernel_shape: the size of the kernels, for all axes or for each.
      data_format: the position of the channels, such as "NHWC" or "NCHW".
      w_i_init: the initializer of the kernel of the inputs; None for a truncated normal of stddev
        `1 / sqrt(fan_in)`.
      w_h_init: the initializer of the kernel of `hidden`; None for the same.
      b_init: the initializer of `b`; None for zeros.
      forget_bias: is added to the part of `b` for the forget gate when it is created.
      dtype: the dtype of inputs, bias and initial state.
      name: the name of the module.

    Attributes:
      input_to_hidden: the kernel `[*spatial, C, 4 * output_channels]`, after the first call.
      hidden_to_hidden: the kernel `[*spatial, output_channels, 4 * output_channels]`, after the
        first call.
      b: the bias, `[4 * output_channels]`, after the first call.
    """

    b: Variable

    def __init__(
        self,
        num_spatial_dims: int,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        data_format: str | None = None,
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name)
        self._num_spatial_dims = num_spatial_dims
        self._input_shape = list(input_shape)
        self._output_channels = output_channels
        self._b_init = b_init or Zeros()
        self._forget_bias = forget_bias
        self._dtype = dtype

        def conv(w_init: Initializer | None, name: str) -> ConvND:
            return ConvND(
                num_spatial_dims,
                output_channels=4 * output_channels,
                kernel_shape=kernel_shape,
                with_bias=False,
                w_init=w_init,
                data_format=data_format,
                name=name,
            )

        self._input_to_hidden = conv(w_i_init, "input_to_hidden")
        self._hidden_to_hidden = conv(w_h_init, "hidden_to_hidden")
        self._channel_index = self._input_to_hidden._channel_index

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_dtype(self, inputs, self._dtype)
        b_init = with_forget_bias(self._b_init, self._forget_bias)
        self.b = Variable.create("b", (4 * self._output_channels,), self._dtype, b_init)

    def __call__(self, inputs: jax.Array, prev_state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Runs one step.

        Args:
          inputs: `[B, *input_shape]`.
          prev_state: the state before it, as `initial_state` makes it.

        Returns:
          The output, which is `hidden` of the new state, and the new state.

        Raises:
          SonnetValueError: the shapes do not fit.
          SonnetTypeError: the inputs have another dtype than `dtype`.
          SonnetAttributeError: the state is not an `LSTMState`.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        hidden, cell = map(as_array, hidden_and_cell(self, prev_state))
        from_x = self._input_to_hidden(inputs)
        from_hidden = self._hidden_to_hidden(hidden)
        if not _fit(from_x, from_hidden) or hidden.shape != cell.shape:
            raise SonnetValueError(
                f"{type(self).__name__} {self.module_name!r} was given inputs of the shape"
                f" {list(inputs.shape)} and a state of the shapes {list(hidden.shape)} and"
                f" {list(cell.shape)}, which differ in more than the channels. It was made for"
                f" input_shape={self._input_shape}. Give it inputs [B, *input_shape], and begin"
                " with core.initial_state(x.shape[0])."
            )
        channels = self._channel_index % inputs.ndim
        hidden, cell = _step(from_x, from_hidden, as_array(self.b), cell, channels)
        return hidden, LSTMState(hidden, cell)

    def initial_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int
    ) -> LSTMState:
        """Returns zeros of the shape of the inputs, with `output_channels` channels.

        Args:
          batch_size: B.

        Returns:
          The state before the first step.

        Raises:
          SonnetValueError: `batch_size` is not a number.
        """
        shape = list(self._input_shape)
        shape[0 if self._channel_index == 1 else -1] = self._output_channels
        # Two arrays and not one twice, which could not be donated.
        hidden, cell = (zeros(self, batch_size, shape, self._dtype) for _ in range(2))
        return LSTMState(hidden, cell)

    @property
    def input_to_hidden(self) -> Variable:
        """The kernel of the inputs."""
        return created(self, self._input_to_hidden, "w")

    @property
    def hidden_to_hidden(self) -> Variable:
        """The kernel of `hidden`."""
        return created(self, self._hidden_to_hidden, "w")


class Conv1DLSTM(ConvNDLSTM):
    """An LSTM whose gates are convolutions over one axis; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.Conv1DLSTM([8, 3], output_channels=5, kernel_shape=3)
    >>> outputs, state = core(jnp.ones([2, 8, 3]), core.initial_state(2))
    >>> outputs.shape
    (2, 8, 5)

    See `ConvNDLSTM` for the arguments.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        data_format: str = "NWC",
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(
            1, input_shape, output_channels, kernel_shape, data_format,
            w_i_init, w_h_init, b_init, forget_bias, dtype, name,
        )  # fmt: skip


class Conv2DLSTM(ConvNDLSTM):
    """An LSTM whose gates are convolutions over two axes; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.Conv2DLSTM([8, 8, 3], output_channels=5, kernel_shape=3)
    >>> outputs, state = core(jnp.ones([2, 8, 8, 3]), core.initial_state(2))
    >>> outputs.shape
    (2, 8, 8, 5)

    See `ConvNDLSTM` for the arguments.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        data_format: str = "NHWC",
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(
            2, input_shape, output_channels, kernel_shape, data_format,
            w_i_init, w_h_init, b_init, forget_bias, dtype, name,
        )  # fmt: skip


class Conv3DLSTM(ConvNDLSTM):
    """An LSTM whose gates are convolutions over three axes; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.Conv3DLSTM([4, 4, 4, 3], output_channels=5, kernel_shape=3)
    >>> outputs, state = core(jnp.ones([2, 4, 4, 4, 3]), core.initial_state(2))
    >>> outputs.shape
    (2, 4, 4, 4, 5)

    See `ConvNDLSTM` for the arguments.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        data_format: str = "NDHWC",
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(
            3, input_shape, output_channels, kernel_shape, data_format,
            w_i_init, w_h_init, b_init, forget_bias, dtype, name,
        )  # fmt: skip
