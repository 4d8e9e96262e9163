"""`GRU`."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._ops.inlined import inlined
from purestate._ops.products import dot_general
from purestate._sonnet.checks import as_array, check_features, check_rank
from purestate._sonnet.initializers import Initializer, VarianceScaling, Zeros
from purestate._sonnet.once import once
from purestate._sonnet.recurrent.core import (
    ONE_STEP,
    RNNCore,
    check_dtype,
    check_state,
    created,
    zeros,
)
from purestate._sonnet.variable import Variable


@inlined()
def _step(
    x: jax.Array, state: jax.Array, w_i: jax.Array, w_h: jax.Array, b: jax.Array
) -> jax.Array:
    size = w_h.shape[0]
    from_x = dot_general(x, w_i)
    zr = from_x[:, : 2 * size] + dot_general(state, w_h[:, : 2 * size]) + b[: 2 * size]
    z, r = jnp.split(lax.logistic(zr), 2, axis=1)
    new = from_x[:, 2 * size :] + dot_general(r * state, w_h[:, 2 * size :]) + b[2 * size :]
    a = lax.tanh(new)
    return (1 - z) * state + z * a


class GRU(RNNCore):
    """The gated recurrent unit of Chung et al. 2014, arXiv:1412.3555.

    The gates are, one after the other: what to replace (z), what to see of the past (r), and the
    new content. r acts on the state before it meets the weights.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(x):
    ...     core = snt.GRU(4)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> params, _ = ps.transform_with_state(f).init(jax.random.key(0), jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'gru': {'b': (12,), 'w_h': (4, 12), 'w_i': (3, 12)}}

    Args:
      hidden_size: the size of the state, which is the output.
      w_i_init: the initializer of `w_i`; None for the uniform one of Glorot and Bengio 2010.
      w_h_init: the initializer of `w_h`; None for the same.
      b_init: the initializer of `b`; None for zeros.
      dtype: the dtype of inputs, weights and initial state.
      name: the name of the module.

    Attributes:
      input_to_hidden: `w_i`, `[inputs, 3 * hidden_size]`, after the first call.
      hidden_to_hidden: `w_h`, `[hidden_size, 3 * hidden_size]`, after the first call.
      b: the bias, `[3 * hidden_size]`, after the first call.
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
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name)
        self._hidden_size = hidden_size
        glorot = VarianceScaling(mode="fan_avg", distribution="uniform")
        self._w_i_init = w_i_init or glorot
        self._w_h_init = w_h_init or glorot
        self._b_init = b_init or Zeros()
        self._dtype = dtype

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_dtype(self, inputs, self._dtype)
        size, dtype = self._hidden_size, self._dtype
        self._w_i = Variable.create("w_i", (inputs.shape[1], 3 * size), dtype, self._w_i_init)
        self._w_h = Variable.create("w_h", (size, 3 * size), dtype, self._w_h_init)
        self.b = Variable.create("b", (3 * size,), dtype, self._b_init)

    def __call__(self, inputs: jax.Array, prev_state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Runs one step.

        Args:
          inputs: `[B, inputs]`.
          prev_state: the state before it, `[B, hidden_size]`.

        Returns:
          The new state, twice: as the output and as the state.

        Raises:
          SonnetValueError: the shapes do not fit.
          SonnetTypeError: the inputs have another dtype than `dtype`.
        """
        inputs, state = as_array(inputs), as_array(prev_state)
        check_rank(self, inputs, 2, ONE_STEP)
        self._initialize(inputs)
        w_i, w_h = as_array(self._w_i), as_array(self._w_h)
        check_features(self, inputs, w_i.shape[0])
        check_state(self, inputs, state, w_h.shape[0])
        state = _step(inputs, state, w_i, w_h, as_array(self.b))
        return state, state

    def initial_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int
    ) -> jax.Array:
        """Returns zeros `[B, hidden_size]`.

        Args:
          batch_size: B.

        Returns:
          The state before the first step.

        Raises:
          SonnetValueError: `batch_size` is not a number.
        """
        return zeros(self, batch_size, [self._hidden_size], self._dtype)

    @property
    def input_to_hidden(self) -> Variable:
        """The weights of the inputs."""
        return created(self, self, "_w_i")

    @property
    def hidden_to_hidden(self) -> Variable:
        """The weights of the state."""
        return created(self, self, "_w_h")
