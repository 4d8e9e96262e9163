"""`LSTM` and `UnrolledLSTM`."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._layers.recurrent.lstm import LSTMState
from purestate._ops.inlined import inlined, is_intercepted
from purestate._ops.products import dot_general
from purestate._sonnet.checks import as_array, check_features, check_rank
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal, Zeros
from purestate._sonnet.once import once
from purestate._sonnet.recurrent.core import (
    ONE_STEP,
    RNNCore,
    UnrolledRNN,
    check_dtype,
    check_state,
    created,
    hidden_and_cell,
    zeros,
)
from purestate._sonnet.variable import Variable


def with_forget_bias(
    b_init: Initializer, forget_bias: float | jax.Array
) -> Callable[[Sequence[int], Any], jax.Array]:
    """Returns an initializer that adds `forget_bias` in the second quarter, that of forgetting."""

    def init(shape: Sequence[int], dtype: Any) -> jax.Array:
        b = jnp.asarray(b_init(shape, dtype))
        size = shape[0] // 4
        return b.at[size : 2 * size].add(jnp.asarray(forget_bias, b.dtype))

    return init


def after_gates(gates: jax.Array, cell: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Returns hidden and cell after a step. The gates are input, forget, new content, output."""
    i, f, g, o = jnp.split(gates, 4, axis)
    cell = lax.logistic(f) * cell + lax.logistic(i) * lax.tanh(g)
    return lax.logistic(o) * lax.tanh(cell), cell


@inlined()
def _step(
    x: jax.Array, hidden: jax.Array, cell: jax.Array, w_i: jax.Array, w_h: jax.Array, b: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return after_gates(dot_general(x, w_i) + dot_general(hidden, w_h) + b, cell, 1)


@jax.jit
def _unroll(
    xs: jax.Array, hidden: jax.Array, cell: jax.Array, w_i: jax.Array, w_h: jax.Array, b: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Runs over a sequence; compiled as one also if nothing else is compiled."""
    dtype = jnp.result_type(xs, hidden, cell, w_i, w_h, b)

    def step(state: tuple[jax.Array, jax.Array], from_x: jax.Array) -> Any:
        hidden, cell = after_gates(from_x + dot_general(state[0], w_h), state[1], 1)
        return (hidden, cell), hidden

    # One product for the inputs of all steps, outside the loop.
    from_xs = dot_general(xs, w_i) + b
    state, outputs = lax.scan(step, (hidden.astype(dtype), cell.astype(dtype)), from_xs)
    return outputs, state


def _create_gates(
    input_size: int, seen_size: int, hidden_size: int, dtype: DTypeLike, inits: tuple[Any, Any, Any]
) -> tuple[Variable, Variable, Variable]:
    """Creates `w_i`, `w_h` and `b` of the running module; an initializer may be None."""
    w_i_init, w_h_init, b_init = inits
    w_i_init = w_i_init or TruncatedNormal(stddev=1 / math.sqrt(input_size))
    w_h_init = w_h_init or TruncatedNormal(stddev=1 / math.sqrt(seen_size))
    w_i = Variable.create("w_i", (input_size, 4 * hidden_size), dtype, w_i_init)
    w_h = Variable.create("w_h", (seen_size, 4 * hidden_size), dtype, w_h_init)
    return w_i, w_h, Variable.create("b", (4 * hidden_size,), dtype, b_init)


class LSTM(RNNCore):
    """Long short-term memory: gates write, read and clear a memory.

    Hochreiter and Schmidhuber 1997, Neural Computation 9:1735, as in Zaremba et al. 2015,
    arXiv:1409.2329. `forget_bias` is part of `b` from the start (Jozefowicz et al. 2015, PMLR
    37:2342). The gates are, one after the other: input, forget, new content, output.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(xs):
    ...     core = snt.LSTM(4)
    ...     return snt.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
    >>> g = ps.transform_with_state(f)
    >>> xs = jnp.ones([7, 2, 3])
    >>> params, state = g.init(jax.random.key(0), xs)
    >>> jax.tree.map(jnp.shape, params)
    {'lstm': {'b': (16,), 'w_h': (4, 16), 'w_i': (3, 16)}}
    >>> (outputs, last), state = g.apply(params, state, None, xs)
    >>> outputs.shape, last.cell.shape
    ((7, 2, 4), (2, 4))

    Args:
      hidden_size: the size of the cell, and of the output unless it is projected.
      projection_size: the size to which a matrix brings the output; None for no projection. Sak et
        al. 2014, arXiv:1402.1128.
      projection_init: the initializer of `projection`; None for a truncated normal of stddev
        `1 / sqrt(hidden_size)`.
      w_i_init: the initializer of `w_i`; None for a truncated normal of stddev `1 / sqrt(inputs)`.
      w_h_init: the initializer of `w_h`; None for a truncated normal of stddev
        `1 / sqrt(output size)`.
      b_init: the initializer of `b`; None for zeros.
      forget_bias: is added to the part of `b` for the forget gate when it is created.
      dtype: the dtype of inputs, weights and initial state.
      name: the name of the module.

    Attributes:
      input_to_hidden: `w_i`, `[inputs, 4 * hidden_size]`, after the first call.
      hidden_to_hidden: `w_h`, `[output size, 4 * hidden_size]`, after the first call.
      b: the bias, `[4 * hidden_size]`, after the first call.
      projection: the matrix `[hidden_size, projection_size]` or None, after the first call.

    Raises:
      SonnetValueError: `projection_init` without a projection.
    """

    _w_i: Variable
    _w_h: Variable
    b: Variable
    projection: Variable | None

    def __init__(
        self,
        hidden_size: int,
        projection_size: int | None = None,
        projection_init: Initializer | None = None,
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name)
        if projection_size is None and projection_init is not None:
            raise SonnetValueError(
                f"LSTM {self.module_name!r}: projection_init is given without projection_size."
                " Leave it out, or set projection_size."
            )
        self._hidden_size = hidden_size
        self._projection_size = projection_size
        self._eff_hidden_size = projection_size or hidden_size
        self._projection_init = projection_init
        self._w_i_init = w_i_init
        self._w_h_init = w_h_init
        self._b_init = b_init or Zeros()
        self._forget_bias = forget_bias
        self._dtype = dtype

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_dtype(self, inputs, self._dtype)
        b_init = with_forget_bias(self._b_init, self._forget_bias)
        inits = self._w_i_init, self._w_h_init, b_init
        self._w_i, self._w_h, self.b = _create_gates(
            inputs.shape[1], self._eff_hidden_size, self._hidden_size, self._dtype, inits
        )
        self.projection = None
        if self._projection_size is not None:
            init = self._projection_init or TruncatedNormal(stddev=1 / math.sqrt(self._hidden_size))
            shape = (self._hidden_size, self._projection_size)
            self.projection = Variable.create("projection", shape, self._dtype, init)

    def __call__(self, inputs: jax.Array, prev_state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Runs one step.

        Args:
          inputs: `[B, inputs]`.
          prev_state: the state before it, `hidden` `[B, output size]` and `cell`
            `[B, hidden_size]`.

        Returns:
          The output, which is `hidden` of the new state, and the new state.

        Raises:
          SonnetValueError: the shapes do not fit.
          SonnetTypeError: the inputs have another dtype than `dtype`.
          SonnetAttributeError: the state is not an `LSTMState`.
        """
        inputs = as_array(inputs)
        check_rank(self, inputs, 2, ONE_STEP)
        self._initialize(inputs)
        hidden, cell = map(as_array, hidden_and_cell(self, prev_state))
        w_i, w_h = as_array(self._w_i), as_array(self._w_h)
        check_features(self, inputs, w_i.shape[0])
        check_state(self, inputs, hidden, w_h.shape[0])
        check_state(self, inputs, cell, self._hidden_size)
        hidden, cell = _step(inputs, hidden, cell, w_i, w_h, as_array(self.b))
        if self.projection is not None:
            hidden = dot_general(hidden, as_array(self.projection))
        return hidden, LSTMState(hidden, cell)

    def initial_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int
    ) -> LSTMState:
        """Returns zeros, `hidden` `[B, output size]` and `cell` `[B, hidden_size]`.

        Args:
          batch_size: B.

        Returns:
          The state before the first step.

        Raises:
          SonnetValueError: `batch_size` is not a number.
        """
        return LSTMState(
            hidden=zeros(self, batch_size, [self._eff_hidden_size], self._dtype),
            cell=zeros(self, batch_size, [self._hidden_size], self._dtype),
        )

    @property
    def input_to_hidden(self) -> Variable:
        """The weights of the inputs."""
        return created(self, self, "_w_i")

    @property
    def hidden_to_hidden(self) -> Variable:
        """The weights of what it sees of its past."""
        return created(self, self, "_w_h")


class UnrolledLSTM(UnrolledRNN):
    """An LSTM that runs over a whole sequence: `dynamic_unroll` of an `LSTM`, but faster.

    What the inputs contribute to the gates is computed for all steps at once.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> lstm = snt.UnrolledLSTM(4)
    >>> outputs, last = lstm(jnp.ones([7, 2, 3]), lstm.initial_state(2))
    >>> outputs.shape, last.cell.shape
    ((7, 2, 4), (2, 4))

    Args:
      hidden_size: the size of the cell and of the output.
      w_i_init: the initializer of `w_i`; None for a truncated normal of stddev `1 / sqrt(inputs)`.
      w_h_init: the initializer of `w_h`; None for a truncated normal of stddev
        `1 / sqrt(hidden_size)`.
      b_init: the initializer of `b`; None for zeros.
      forget_bias: is added to the part of `b` for the forget gate when it is created.
      dtype: the dtype of inputs, weights and initial state.
      name: the name of the module.

    Attributes:
      input_to_hidden: `w_i`, `[inputs, 4 * hidden_size]`, after the first call.
      hidden_to_hidden: `w_h`, `[hidden_size, 4 * hidden_size]`, after the first call.
      b: the bias, `[4 * hidden_size]`, after the first call.
    """

    _w_i: Variable
    _w_h: Variable
    b: Variable

    def __init__(
        self,
        hidden_size: int,
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        forget_bias: float | jax.Array = 1.0,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name)
        self._hidden_size = hidden_size
        self._w_i_init = w_i_init
        self._w_h_init = w_h_init
        self._b_init = b_init or Zeros()
        self._forget_bias = forget_bias
        self._dtype = dtype

    @once
    def _initialize(self, input_sequence: jax.Array) -> None:
        check_dtype(self, input_sequence, self._dtype)
        b_init = with_forget_bias(self._b_init, self._forget_bias)
        inits = self._w_i_init, self._w_h_init, b_init
        self._w_i, self._w_h, self.b = _create_gates(
            input_sequence.shape[2], self._hidden_size, self._hidden_size, self._dtype, inits
        )

    def __call__(
        self, input_sequence: jax.Array, initial_state: LSTMState
    ) -> tuple[jax.Array, LSTMState]:
        """Runs over a sequence.

        Args:
          input_sequence: `[T, B, inputs]`.
          initial_state: the state before the first step, of arrays `[B, hidden_size]`.

        Returns:
          The outputs, `[T, B, hidden_size]`, and the state after the last step.

        Raises:
          SonnetValueError: the shapes do not fit, or the sequence is empty.
          SonnetTypeError: the inputs have another dtype than `dtype`.
          SonnetAttributeError: the state is not an `LSTMState`.
        """
        xs = as_array(input_sequence)
        check_rank(self, xs, 3, " It runs over a sequence [T, B, inputs].")
        self._initialize(xs)
        hidden, cell = map(as_array, hidden_and_cell(self, initial_state))
        check_features(self, xs, self._w_i.shape[0])
        for part in (hidden, cell):
            if part.shape != (xs.shape[1], self._hidden_size) or not xs.shape[0]:
                raise SonnetValueError(
                    f"UnrolledLSTM {self.module_name!r} was given a sequence of the shape"
                    f" {list(xs.shape)} and a state of the shape {list(part.shape)}. It needs a"
                    f" sequence [T, B, inputs] with at least one step, and a state [B,"
                    f" {self._hidden_size}]: begin with lstm.initial_state(xs.shape[1])."
                )
        weights = as_array(self._w_i), as_array(self._w_h), as_array(self.b)
        # As in `inlined`; and in a compiled function no operand would be known as a parameter.
        unroll: Any = inspect.unwrap(_unroll) if is_intercepted() else _unroll
        outputs, last = unroll(xs, hidden, cell, *weights)
        return outputs, LSTMState(*last)

    def initial_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int
    ) -> LSTMState:
        """Returns zeros, two arrays `[B, hidden_size]`.

        Args:
          batch_size: B.

        Returns:
          The state before the first step.

        Raises:
          SonnetValueError: `batch_size` is not a number.
        """
        return LSTMState(
            hidden=zeros(self, batch_size, [self._hidden_size], self._dtype),
            cell=zeros(self, batch_size, [self._hidden_size], self._dtype),
        )

    @property
    def input_to_hidden(self) -> Variable:
        """The weights of the inputs."""
        return created(self, self, "_w_i")

    @property
    def hidden_to_hidden(self) -> Variable:
        """The weights of what it sees of its past."""
        return created(self, self, "_w_h")
