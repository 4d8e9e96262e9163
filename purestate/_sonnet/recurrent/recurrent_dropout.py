"""`lstm_with_recurrent_dropout`."""

from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.rng import next_rng_key
from purestate._layers.dropout import dropout
from purestate._layers.recurrent.lstm import LSTMState
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.recurrent.core import RNNCore
from purestate._sonnet.recurrent.lstm import LSTM


def _is_none(x: object) -> bool:
    return x is None


class RecurrentDropoutCore(RNNCore):
    """A core that sees its state with values set to zero, the same ones at all steps.

    Its state is `(state of the core, masks)`; `initial_state` draws the masks.

    Args:
      base_core: the core.
      rates: of the structure of its state, the chance for a value to become zero, or None.
      seed: an int that goes into the random key; None for none.
    """

    def __init__(self, base_core: RNNCore, rates: Any, seed: int | None = None):
        super().__init__(name=f"{base_core.name}_recurrent_dropout")
        self._base_core = base_core
        self._rates = rates
        self._seed = seed

    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step of the core; see `RNNCore.__call__`."""
        state, masks = prev_state

        def masked(mask: Any, part: Any) -> Any:
            return part if mask is None else part * mask

        state = jax.tree.map(masked, masks, state, is_leaf=_is_none)
        outputs, next_state = self._base_core(inputs, state)
        return outputs, (next_state, masks)

    def initial_state(self, batch_size: int, **kwargs: Any) -> tuple[Any, Any]:
        """Returns the initial state of the core, and masks: 0 or `1 / (1 - rate)`, None for none.

        Args:
          batch_size: B.
          **kwargs: for `initial_state` of the core.

        Returns:
          `(state, masks)`.

        Raises:
          MissingRNGError: `apply` was given no random key.
        """
        state = self._base_core.initial_state(batch_size, **kwargs)

        def mask(rate: float | None, part: jax.Array) -> jax.Array | None:
            if rate is None:
                return None
            ones = jnp.ones_like(part)
            return ones if rate == 0 else dropout(self._key(), rate, ones)

        return state, jax.tree.map(mask, self._rates, state, is_leaf=_is_none)

    def _key(self) -> jax.Array:
        key = next_rng_key()
        return key if self._seed is None else jax.random.fold_in(key, self._seed)


def lstm_with_recurrent_dropout(
    hidden_size: int, dropout: float = 0.5, seed: int | None = None, **kwargs: Any
) -> tuple[RNNCore, LSTM]:
    """Makes an LSTM for training, which drops values of `hidden`, and the same LSTM without that.

    Gal and Ghahramani 2016, arXiv:1512.05287. `initial_state` of the first one draws the values to
    drop, for each example, and all steps have them in common; `cell` stays as it is. The seed goes
    into the random key of the running function, so that each key still gives other values.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(xs, is_training):
    ...     train_lstm, test_lstm = snt.lstm_with_recurrent_dropout(4, dropout=0.3)
    ...     core = train_lstm if is_training else test_lstm
    ...     return snt.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]
    >>> g = ps.transform_with_state(f)
    >>> xs = jnp.ones([7, 2, 3])
    >>> params, state = g.init(jax.random.key(0), xs, True)
    >>> g.apply(params, state, jax.random.key(1), xs, True)[0].shape
    (7, 2, 4)
    >>> g.apply(params, state, None, xs, False)[0].shape
    (7, 2, 4)

    Args:
      hidden_size: the size of the cell.
      dropout: the chance for a value to become zero, `0 <= dropout < 1`.
      seed: an int that goes into the random key; None for none.
      **kwargs: further arguments of `LSTM`.

    Returns:
      `(train_lstm, test_lstm)`.

    Raises:
      SonnetValueError: `dropout` is outside its range.
    """
    if dropout < 0 or dropout >= 1:
        raise SonnetValueError(
            "`snt.lstm_with_recurrent_dropout`: dropout is the chance for a value to become zero,"
            f" at least 0 and less than 1; got {dropout}."
        )
    lstm = LSTM(hidden_size, **kwargs)
    rates: Any = LSTMState(hidden=dropout, cell=None)  # pyright: ignore[reportArgumentType]
    return RecurrentDropoutCore(lstm, rates, seed), lstm
