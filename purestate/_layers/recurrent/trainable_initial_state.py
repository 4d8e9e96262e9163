"""Learning the state to start from."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._core.variables import Initializer, get_parameter
from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class
from purestate._layers.recurrent.core import RecurrentError, RNNCore, initial_state_of
from purestate._layers.recurrent.recurrent_dropout import RecurrentDropoutState


def _is_dropout_state(x: object) -> bool:
    return isinstance(x, RecurrentDropoutState)


def _is_learned(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.inexact)


def _learned_paths(state: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields where in the state the arrays are that become parameters."""
    for path, value in jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_dropout_state):
        if _is_dropout_state(value):
            yield from _learned_paths(value.state, (*before, *path))
        elif _is_learned(value):
            yield (*before, *path)


def _names_of(paths: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Yields a name of its own for each path: `a_b` for `a/b`, and `a_b_1` for `a_b` beside it."""
    names = [jax.tree_util.keystr(path, simple=True, separator="_") or "state" for path in paths]
    taken, used = set(names), set[str]()
    for name in names:
        unique, number = name, 0
        while unique in used or (number and unique in taken):
            number += 1
            unique = f"{name}_{number}"
        used.add(unique)
        yield unique


class TrainableInitialState(RNNCore):
    """Makes parameters of the initial state of a core, one for each array in it.

    All examples of a batch share them.
    Whatever asks for the initial state gets it: an unroll, `ResetCore`, `Bidirectional`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     core = ps.TrainableInitialState(ps.LSTM(4))
    ...     return ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([7, 2, 3]))
    >>> jax.tree.map(jnp.shape, params["trainable_initial_state"])
    {'cell': (4,), 'hidden': (4,)}

    Args:
      core: the core. A state of several cores, as that of `DeepRNN`, is all made of parameters.
      init: the initializer of the parameters; None for the values that the core's own initial state
        has.
      name: the name of the module.

    Raises:
      LayerError: `core` is not a core.
      ArgumentError: `core` is a class.
    """

    def __init__(self, core: RNNCore, init: Initializer | None = None, name: str | None = None):
        super().__init__(name=name)
        if core.__class__ is MODULE_CLASS:
            raise is_a_class(f"TrainableInitialState {self.module_name!r}", "its core", core)
        if not isinstance(core, RNNCore):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LayerError(
                f"TrainableInitialState {self.module_name!r} takes a core (RNNCore), which has an"
                f" initial_state; got {kind_of(core)}."
            )
        self.core = core
        self.init = init

    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step of the core.

        Args:
          inputs: the inputs of the core.
          prev_state: the state of the core.

        Returns:
          What the core returns.
        """
        return self.core(inputs, prev_state)

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> Any:
        """Returns a state like the core's, of parameters.

        Integers, booleans and random keys, which cannot be learned, stay as the core has them, and
        so do the masks of `RecurrentDropout`.

        Args:
          batch_size: B, or None for inputs without a batch. With B the parameters are repeated
            along the first axis.
          dtype: of the parameters; None for that of the core's state.

        Returns:
          The state before the first step.

        Raises:
          RecurrentError: an array of the core's state does not begin with B.
        """

        def train(value: Any) -> Any:
            if _is_dropout_state(value):
                return value._replace(state=jax.tree.map(train, value.state))
            if not _is_learned(value):
                return value
            name = next(names)
            first = self._without_batch(name, jnp.asarray(value), batch_size)
            init = self.init or (lambda shape, dtype: first)
            return jnp.broadcast_to(
                get_parameter(name, first.shape, first.dtype, init), jnp.shape(value)
            )

        state = initial_state_of(self.core, batch_size, dtype)
        names = _names_of(_learned_paths(state))
        return jax.tree.map(train, state, is_leaf=_is_dropout_state)

    def _without_batch(self, name: str, value: jax.Array, batch_size: int | None) -> jax.Array:
        if batch_size is None:
            return value
        if value.shape[:1] != (batch_size,):
            raise RecurrentError(
                f"TrainableInitialState {self.module_name!r} needs a state whose arrays begin with"
                f" the batch, but for batch_size={batch_size} {name!r} of {self.core!r} has shape"
                f" {value.shape}. Have initial_state of the core return [B, ...]."
            )
        return value[0]
