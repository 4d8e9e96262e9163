"""Long short-term memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._core.errors import kind_of
from purestate._layers.errors import LayerError
from purestate._layers.linear import Linear
from purestate._layers.recurrent.core import RecurrentError, RNNCore, as_array, with_batch_size
from purestate._ops.inlined import is_staged


class LSTMState(NamedTuple):
    """The state of an LSTM.

    >>> import jax.numpy as jnp, purestate as ps
    >>> state = ps.transform(lambda: ps.LSTM(4).initial_state(2)).apply({}, None)
    >>> state.hidden.shape, state.cell.shape
    ((2, 4), (2, 4))

    Attributes:
      hidden: what it puts out, and sees of its past.
      cell: what it remembers.
    """

    hidden: jax.Array
    cell: jax.Array


# So that `jax.export` can write programs that take or return it.
jax.export.register_namedtuple_serialization(LSTMState, serialized_name="purestate.LSTMState")


def not_an_lstm_state(core: RNNCore, state: object) -> RecurrentError:
    """The error for something else as the state of an LSTM."""
    return RecurrentError(
        f"{type(core).__name__} {core.module_name!r} needs an LSTMState as its state, but was given"
        f" {kind_of(state)}: begin with core.initial_state(B), and pass on what the last step"
        " returned."
    )


def next_lstm_state(gates: jax.Array, cell: jax.Array) -> LSTMState:
    """Returns the state after a step.

    The last axis of `gates` has, one after the other, those of input, new content, forgetting and
    output. One is added to that of forgetting, to remember at first (Jozefowicz et al. 2015, PMLR
    37:2342).
    """
    axis = len(gates.shape) - 1
    size = gates.shape[axis] // 4
    # Where nothing is to be promoted, lax does what jax.numpy would, in half the time of tracing.
    plain = cell.dtype == gates.dtype and cell.shape == (*gates.shape[:axis], size)
    add, mul = (lax.add, lax.mul) if plain else (jnp.add, jnp.multiply)
    one: Any = gates.dtype.type(1)
    i, g, f, o = lax.split(gates, (size,) * 4, axis)
    cell = add(mul(lax.logistic(lax.add(f, one)), cell), lax.mul(lax.logistic(i), lax.tanh(g)))
    return LSTMState(mul(lax.logistic(o), lax.tanh(cell)), cell)


class LSTM(RNNCore):
    """A core with a memory of its own, which gates write, read and clear.

    Hochreiter and Schmidhuber 1997 (Neural Computation 9:1735), with the forget gate of Gers et al.
    2000; as in Zaremba et al. 2015, arXiv:1409.2329.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     core = ps.LSTM(4)
    ...     outs, state = ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
    ...     return outs
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([7, 2, 3])
    >>> params = g.init(jax.random.key(0), xs)
    >>> params["lstm/linear"]["w"].shape, g.apply(params, None, xs).shape
    ((7, 16), (7, 2, 4))

    Args:
      hidden_size: the size of the output, of `hidden` and of `cell`.
      name: the name of the module.
      projection_size: the size to which a linear layer without a bias brings the output and
        `hidden`, so that the gates have fewer weights; None for no such layer. Sak et al. 2014,
        arXiv:1402.1128, equation 6.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: `projection_size` is less than 1.
    """

    def __init__(
        self,
        hidden_size: int,
        name: str | None = None,
        *,
        projection_size: int | None = None,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.hidden_size = hidden_size
        self.projection_size = projection_size
        # Left out if it says nothing, so that the layers look as they do in dm-haiku.
        self._kept: dict[str, Any] = {} if param_dtype is None else {"param_dtype": param_dtype}
        if projection_size is not None and projection_size < 1:
            raise LayerError(
                f"LSTM {self.module_name!r}: projection_size is the size of the output, at least 1;"
                f" got {projection_size}. For no projection leave it out."
            )

    def __call__(self, inputs: jax.Array, prev_state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Runs one step.

        Args:
          inputs: `[B, D]`, or `[D]`.
          prev_state: the state before it, of arrays `[B, hidden_size]`, or `[hidden_size]`; with a
            projection `hidden` is `[B, projection_size]`.

        Returns:
          The output, which is `hidden` of the new state, and the new state.

        Raises:
          LayerError: `inputs` has no axis, or more than two.
          RecurrentError: the state has another batch, or is no `LSTMState`.
        """
        inputs = as_array(inputs)
        try:
            hidden, cell = prev_state.hidden, prev_state.cell
        except AttributeError:
            raise not_an_lstm_state(self, prev_state) from None
        hidden, cell = as_array(hidden), as_array(cell)
        rank = len(inputs.shape)
        if rank not in (1, 2):
            raise LayerError(
                f"LSTM {self.module_name!r} needs the inputs of one step, [B, D] or [D], got shape"
                f" {inputs.shape}. For a sequence [T, B, D] use ps.dynamic_unroll(core, inputs,"
                " core.initial_state(B))."
            )
        if inputs.shape[:-1] != hidden.shape[:-1]:
            raise RecurrentError(
                f"LSTM {self.module_name!r} was given inputs of shape {inputs.shape} and a state of"
                f" shape {hidden.shape}: they need the same batch. Make the state with"
                " core.initial_state(B) for inputs [B, D], and with core.initial_state(None) for"
                " [D]."
            )
        if inputs.dtype == hidden.dtype:
            inputs_and_hidden = lax.concatenate((inputs, hidden), rank - 1)
        else:
            inputs_and_hidden = jnp.concatenate((inputs, hidden), axis=-1)
        state = next_lstm_state(Linear(4 * self.hidden_size, **self._kept)(inputs_and_hidden), cell)
        if self.projection_size is not None:
            project = Linear(self.projection_size, with_bias=False, name="projection", **self._kept)
            state = LSTMState(project(state.hidden), state.cell)
        return state.hidden, state

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> LSTMState:
        """Returns zeros, `[B, hidden_size]` or `[hidden_size]`; with a projection see `__call__`.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state; None for JAX's default, float32, or float64 under `jax_enable_x64`.

        Returns:
          The state before the first step.
        """
        shape = with_batch_size((self.hidden_size,), batch_size)
        hidden_shape = with_batch_size((self.projection_size or self.hidden_size,), batch_size)
        cell = jnp.zeros(shape, dtype)
        if is_staged() and hidden_shape == shape:
            return LSTMState(hidden=cell, cell=cell)
        # Outside `jax.jit` these are two arrays, so that both can be donated.
        return LSTMState(hidden=jnp.zeros(hidden_shape, dtype), cell=cell)
