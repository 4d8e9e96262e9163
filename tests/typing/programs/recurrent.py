"""Recurrent cores and unrolls."""

from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps

xs = jnp.ones([8, 3, 2])


class Sum(ps.RNNCore):
    def __call__(self, inputs: jax.Array, prev_state: jax.Array) -> tuple[jax.Array, jax.Array]:
        return inputs, prev_state

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> jax.Array:
        return jnp.zeros(3)


class NoInitial(ps.RNNCore):
    def __call__(self, inputs: jax.Array, prev_state: int) -> tuple[str, int]:
        return "", prev_state


core = Sum()
reveal_type(core)  # Sum
reveal_type(core(xs, core.initial_state(None)))  # tuple[Array, Array]
reveal_type(ps.dynamic_unroll(core, xs, core.initial_state(3)))  # tuple[Array, Array]
reveal_type(ps.static_unroll(core, xs, core.initial_state(3)))  # tuple[Array, Array]
NoInitial()
# in pyright: error: abstract class "NoInitial"
# in mypy: error: abstract class "NoInitial"
core(xs)  # error: "prev_state"
ps.dynamic_unroll(core, xs, "state")  # error: "dynamic_unroll"

lstm = ps.LSTM(4)
reveal_type(lstm.initial_state(3))  # LSTMState
reveal_type(ps.dynamic_unroll(lstm, xs, lstm.initial_state(3)))  # tuple[Array, LSTMState]
reveal_type(lstm(xs, lstm.initial_state(3))[1].hidden)  # Array
reveal_type(ps.GRU(4)(xs, xs))  # tuple[Array, Array]
reveal_type(ps.VanillaRNN(4).initial_state(3))  # Array
lstm(xs, xs)  # error: "LSTMState"
ps.LSTM(4, projection=2)  # error: projection
reveal_type(ps.ResetCore(lstm))  # ResetCore
reveal_type(ps.DeepRNN([lstm, jax.nn.relu, ps.GRU(4)]))  # DeepRNN
reveal_type(ps.Bidirectional(lstm, lstm).initial_state(3))  # tuple[Any, Any]
ps.ResetCore(jax.nn.relu)  # error: "RNNCore"
