"""Dropout of what a core sees of its past, the same at all steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.errors import kind_of
from purestate._core.rng import next_rng_key
from purestate._layers.dropout import dropout
from purestate._layers.errors import MODULE_CLASS, LayerError, check_bool, is_a_class
from purestate._layers.recurrent.core import RecurrentError, RNNCore, as_array, initial_state_of
from purestate._layers.recurrent.gru import GRU
from purestate._layers.recurrent.lstm import LSTMState


class RecurrentDropoutState(NamedTuple):
    """The state of a `RecurrentDropout`.

    >>> import purestate as ps
    >>> def initial_state():
    ...     return ps.RecurrentDropout(ps.GRU(4), 0.5, is_training=False).initial_state(2)
    >>> state = ps.transform(initial_state).apply({}, None)
    >>> state.state.shape, state.mask
    ((2, 4), None)

    Attributes:
      state: the state of the core.
      mask: 0 for what is dropped and 1 / (1 - rate) for the rest, like the state (for an LSTM, like
        `hidden`); None where nothing is dropped.
    """

    state: Any
    mask: Any


# So that `jax.export` can write programs that take or return it.
jax.export.register_namedtuple_serialization(
    RecurrentDropoutState, serialized_name="purestate.RecurrentDropoutState"
)


class RecurrentDropout(RNNCore):
    """Sets values of the state that a core sees to zero, the same ones at all steps.

    Gal and Ghahramani 2016, arXiv:1512.05287, equation 7, without the dropout of inputs there. What
    is dropped is drawn by `initial_state`, anew for each row of the batch. The weights of an LSTM
    see `hidden` with values set to zero and `cell` remains; those of a GRU see the state so, and
    what is kept of it goes on as it is. Of other cores the whole state is dropped.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs, is_training):
    ...     core = ps.RecurrentDropout(ps.LSTM(4), 0.5, is_training)
    ...     return ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([7, 2, 3])
    >>> params = g.init(jax.random.key(0), xs, True)
    >>> g.apply(params, jax.random.key(1), xs, True).shape, g.apply(params, None, xs, False).shape
    ((7, 2, 4), (7, 2, 4))

    Args:
      core: one core. Where there are several, as in `DeepRNN`, each of them needs a
        `RecurrentDropout`.
      rate: the chance for a value to become zero, `0 <= rate < 1`.
      is_training: whether values are dropped. Without, and with a rate of 0, the core runs as it
        is.
      name: the name of the module.

    Raises:
      LayerError: `core` is no core, or has others in it; `rate` is outside its range; `is_training`
        is traced.
      ArgumentError: `core` is a class.
    """

    def __init__(
        self, core: RNNCore, rate: float | jax.Array, is_training: bool, name: str | None = None
    ):
        super().__init__(name=name)
        if core.__class__ is MODULE_CLASS:
            raise is_a_class(f"RecurrentDropout {self.module_name!r}", "its core", core)
        if not isinstance(core, RNNCore):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LayerError(
                f"RecurrentDropout {self.module_name!r} takes a core (RNNCore), got"
                f" {kind_of(core)}."
            )
        inside = jax.tree.leaves(
            [x for x in vars(core).values() if isinstance(x, (RNNCore, list, tuple))]
        )
        if any(isinstance(x, RNNCore) for x in inside):
            raise LayerError(
                f"RecurrentDropout {self.module_name!r} takes one core, and has to know which of"
                f" its state the weights see, but {type(core).__name__} {core.module_name!r} has"
                " cores in it. Put it inside: around each core, as in"
                " ps.DeepRNN([ps.RecurrentDropout(ps.LSTM(4), rate, is_training), ...])."
            )
        self.core = core
        self.rate = rate
        self.is_training = is_training
        try:
            never_drops = bool(rate == 0)
            if rate < 0 or rate >= 1:
                raise LayerError(
                    f"RecurrentDropout {self.module_name!r}: rate is the chance to become zero, at"
                    f" least 0 and less than 1, got {rate}."
                )
        except jax.errors.ConcretizationTypeError:
            never_drops = False  # a traced rate cannot be looked at
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        self._drops = bool(is_training) and not never_drops

    def __call__(
        self, inputs: Any, prev_state: RecurrentDropoutState
    ) -> tuple[Any, RecurrentDropoutState]:
        """Runs one step of the core.

        Args:
          inputs: the inputs of the core.
          prev_state: the state before it, as `initial_state` makes the first.

        Returns:
          The outputs of the core, and the state after it, with the same mask.

        Raises:
          RecurrentError: the state is not a `RecurrentDropoutState`, or has no mask where one is
            needed.
        """
        state: Any = prev_state
        if not isinstance(state, RecurrentDropoutState):
            raise RecurrentError(
                f"RecurrentDropout {self.module_name!r} has a mask in its state, but was given a"
                f" state of type {type(prev_state).__name__}. Make it with the initial_state of the"
                " RecurrentDropout, not with that of the core."
            )
        state, mask = prev_state
        if not self._drops:
            outputs, state = self.core(inputs, state)
            return outputs, RecurrentDropoutState(state, mask)
        if mask is None:
            raise RecurrentError(
                f"RecurrentDropout {self.module_name!r} is training, but the state it was given was"
                " made without training and has no mask. Make another with initial_state."
            )
        seen = jax.tree.map(_drop, _seen_by_weights(state), mask)
        if isinstance(self.core, GRU):
            outputs, state = self.core(inputs, state, seen=seen)
        elif isinstance(state, LSTMState):
            outputs, state = self.core(inputs, state._replace(hidden=seen))
        else:
            outputs, state = self.core(inputs, seen)
        return outputs, RecurrentDropoutState(state, mask)

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> RecurrentDropoutState:
        """Returns the initial state of the core, and a new mask, drawn with `ps.next_rng_key()`.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state's floating point arrays; None for that of the core.

        Returns:
          The state before the first step.

        Raises:
          MissingRNGError: `init` or `apply` was given no key, and one is needed.
        """
        state = initial_state_of(self.core, batch_size, dtype)
        if not self._drops:
            return RecurrentDropoutState(state, None)

        def draw(x: ArrayLike) -> jax.Array:
            return dropout(next_rng_key(), self.rate, jnp.ones(jnp.shape(x), jnp.result_type(x)))

        return RecurrentDropoutState(state, jax.tree.map(draw, _seen_by_weights(state)))


def _seen_by_weights(state: Any) -> Any:
    return state.hidden if isinstance(state, LSTMState) else state


def _drop(x: ArrayLike, mask: jax.Array) -> jax.Array:
    x = as_array(x)
    return x * mask.astype(x.dtype)
