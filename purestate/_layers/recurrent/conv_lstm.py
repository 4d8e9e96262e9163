"""Long short-term memory over images, with convolutions in place of linear layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._layers.conv import ConvND
from purestate._layers.recurrent.core import RNNCore, as_array, with_batch_size
from purestate._layers.recurrent.lstm import LSTMState, next_lstm_state, not_an_lstm_state


class ConvNDLSTM(RNNCore):
    """An LSTM with convolutions over any number of spatial axes.

    Shi et al. 2015, arXiv:1506.04214.

    Args:
      num_spatial_dims: how many axes to convolve over.
      input_shape: the spatial sizes of the inputs, without batch and channels.
      output_channels: the number of channels of the output, of `hidden` and of `cell`.
      kernel_shape: the size of the kernels, for all axes or for each.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        num_spatial_dims: int,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.num_spatial_dims = num_spatial_dims
        self.input_shape = tuple(input_shape)
        self.output_channels = output_channels
        self.kernel_shape = kernel_shape
        # Left out if it says nothing, so that the layers look as they do in dm-haiku.
        self._kept: dict[str, Any] = {} if param_dtype is None else {"param_dtype": param_dtype}

    def __call__(self, inputs: jax.Array, state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Runs one step.

        Args:
          inputs: `[B, *input_shape, C]`, or without B.
          state: the state before it, of arrays `[B, *input_shape, output_channels]`, or without B.

        Returns:
          The output, which is `hidden` of the new state, and the new state.

        Raises:
          RecurrentError: `state` is no `LSTMState`.
        """
        try:
            hidden, cell = state.hidden, state.cell
        except AttributeError:
            raise not_an_lstm_state(self, state) from None
        hidden, cell = as_array(hidden), as_array(cell)
        channels = 4 * self.output_channels
        from_inputs = ConvND(
            self.num_spatial_dims, channels, self.kernel_shape, name="input_to_hidden", **self._kept
        )
        from_hidden = ConvND(
            self.num_spatial_dims,
            channels,
            self.kernel_shape,
            name="hidden_to_hidden",
            **self._kept,
        )
        a, b = from_inputs(as_array(inputs)), from_hidden(hidden)
        state = next_lstm_state(
            lax.add(a, b) if a.dtype == b.dtype and a.shape == b.shape else a + b, cell
        )
        return state.hidden, state

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> LSTMState:
        """Returns zeros, `[B, *input_shape, output_channels]` or without B.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state; None for JAX's default, float32, or float64 under `jax_enable_x64`.

        Returns:
          The state before the first step.
        """
        shape = with_batch_size((*self.input_shape, self.output_channels), batch_size)
        return LSTMState(hidden=jnp.zeros(shape, dtype), cell=jnp.zeros(shape, dtype))


class Conv1DLSTM(ConvNDLSTM):
    """An LSTM with convolutions over one axis; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.Conv1DLSTM([8], output_channels=2, kernel_shape=3)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 8, 3]))
    >>> params["conv1_dlstm/input_to_hidden"]["w"].shape
    (3, 3, 8)

    Args:
      input_shape: the spatial size of the inputs, such as `[8]`, without batch and channels.
      output_channels: the number of channels of the output, of `hidden` and of `cell`.
      kernel_shape: the size of the kernels.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            1, input_shape, output_channels, kernel_shape, name, param_dtype=param_dtype
        )


class Conv2DLSTM(ConvNDLSTM):
    """An LSTM with convolutions over two axes; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.Conv2DLSTM([8, 8], output_channels=2, kernel_shape=3)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 8, 8, 3]))
    >>> params["conv2_dlstm/hidden_to_hidden"]["w"].shape
    (3, 3, 2, 8)

    Args:
      input_shape: the spatial sizes of the inputs, without batch and channels.
      output_channels: the number of channels of the output, of `hidden` and of `cell`.
      kernel_shape: the size of the kernels, for all axes or for each.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            2, input_shape, output_channels, kernel_shape, name, param_dtype=param_dtype
        )


class Conv3DLSTM(ConvNDLSTM):
    """An LSTM with convolutions over three axes; Shi et al. 2015, arXiv:1506.04214.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     core = ps.Conv3DLSTM([4, 4, 4], output_channels=2, kernel_shape=3)
    ...     return core(x, core.initial_state(None))
    >>> x = jnp.ones([4, 4, 4, 1])
    >>> g = ps.transform(f)
    >>> g.apply(g.init(jax.random.key(0), x), None, x)[0].shape
    (4, 4, 4, 2)

    Args:
      input_shape: the spatial sizes of the inputs, without batch and channels.
      output_channels: the number of channels of the output, of `hidden` and of `cell`.
      kernel_shape: the size of the kernels, for all axes or for each.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_channels: int,
        kernel_shape: int | Sequence[int],
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(
            3, input_shape, output_channels, kernel_shape, name, param_dtype=param_dtype
        )
