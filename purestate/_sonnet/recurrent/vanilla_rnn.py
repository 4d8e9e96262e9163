"""`VanillaRNN`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._sonnet.checks import as_array
from purestate._sonnet.initializers import Initializer, Zeros
from purestate._sonnet.linear import Linear
from purestate._sonnet.once import once
from purestate._sonnet.recurrent.core import RNNCore, check_dtype, check_state, created, zeros
from purestate._sonnet.variable import Variable


class VanillaRNN(RNNCore):
    """The plain recurrent network: `activation(x @ w_i + state @ w_h + b)`.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(x):
    ...     core = snt.VanillaRNN(4, activation=jax.nn.relu)
    ...     return core(x, core.initial_state(x.shape[0]))
    >>> params, _ = ps.transform_with_state(f).init(jax.random.key(0), jnp.ones([2, 3]))
    >>> params["vanilla_rnn/input_to_hidden"]["w"].shape, params["vanilla_rnn"]["b"].shape
    ((3, 4), (4,))

    Args:
      hidden_size: the size of the state, which is the output.
      activation: is applied to the sum.
      w_i_init: the initializer of the weights of the inputs; None for a truncated normal of stddev
        `1 / sqrt(inputs)`.
      w_h_init: the initializer of the weights of the state; None for a truncated normal of stddev
        `1 / sqrt(hidden_size)`.
      b_init: the initializer of `b`; None for zeros.
      dtype: the dtype of inputs, bias and initial state.
      name: the name of the module.

    Attributes:
      input_to_hidden: the weights `[inputs, hidden_size]`, after the first call.
      hidden_to_hidden: the weights `[hidden_size, hidden_size]`, after the first call.
    """

    _b: Variable

    def __init__(
        self,
        hidden_size: int,
        activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
        w_i_init: Initializer | None = None,
        w_h_init: Initializer | None = None,
        b_init: Initializer | None = None,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name)
        self._hidden_size = hidden_size
        self._activation = activation
        self._b_init = b_init or Zeros()
        self._dtype = dtype
        self._input_to_hidden = Linear(hidden_size, False, w_i_init, name="input_to_hidden")
        self._hidden_to_hidden = Linear(hidden_size, False, w_h_init, name="hidden_to_hidden")

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_dtype(self, inputs, self._dtype)
        self._b = Variable.create("b", (self._hidden_size,), self._dtype, self._b_init)

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
        self._initialize(inputs)
        check_state(self, inputs, state, self._hidden_size)
        state = self._activation(
            self._input_to_hidden(inputs) + self._hidden_to_hidden(state) + as_array(self._b)
        )
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
        return created(self, self._input_to_hidden, "w")

    @property
    def hidden_to_hidden(self) -> Variable:
        """The weights of the state."""
        return created(self, self._hidden_to_hidden, "w")
