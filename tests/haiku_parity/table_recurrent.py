"""Every recurrent core, the unrolls, and attention, as functions of a library: dm-haiku or purestate."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.haiku_parity.table_layers import Row

STEP = (2, 3)
SEQUENCE = (4, 2, 3)
RESETS = np.array([[0, 0], [1, 0], [0, 0], [1, 1]], bool)
CAUSAL = np.tril(np.ones([1, 1, 4, 4], bool))


def _lstm(lib: Any) -> Any:
    return lib.LSTM(4)


def _deep(lib: Any) -> Any:
    return lib.DeepRNN([lib.LSTM(4), jax.nn.relu, lib.GRU(3)])


def _skipping(lib: Any) -> Any:
    return lib.deep_rnn_with_skip_connections([lib.LSTM(4), lib.VanillaRNN(3)])


def _resetting(lib: Any) -> Any:
    return lib.ResetCore(_lstm(lib))


def _gru(lib: Any) -> Any:
    return lib.GRU(
        4, w_i_init=lib.initializers.RandomNormal(), b_init=lib.initializers.RandomNormal()
    )


def _step(
    make: Callable[[Any], Any], batch_size: int | None = 2, same_dtype: bool = True
) -> Callable[..., Any]:
    def run(lib: Any, x: Any) -> Any:
        core = make(lib)
        state = jax.tree.map(lambda s: s + 0.3, core.initial_state(batch_size))
        return core(x, jax.tree.map(lambda s: s.astype(x.dtype), state) if same_dtype else state)

    return run


def _sequence(
    make: Callable[[Any], Any], over_time: str, same_dtype: bool = True, **options: Any
) -> Callable[..., Any]:
    def run(lib: Any, xs: Any, *resets: Any) -> Any:
        core = make(lib)
        state = core.initial_state(2)
        if same_dtype:
            state = jax.tree.map(lambda s: s.astype(xs.dtype), state)
        return getattr(lib, over_time)(core, (xs, *resets) if resets else xs, state, **options)

    return run


def _stateful_core(unroll: str) -> Callable[..., Any]:
    def run(lib: Any, xs: Any) -> Any:
        norm = lib.BatchNorm(True, True, 0.9)
        return getattr(lib, unroll)(lambda x, s: (norm(x, is_training=True), s), xs, jnp.zeros([2]))

    return run


def _attention(*, with_bias: bool = True, **options: Any) -> Callable[..., Any]:
    def run(lib: Any, query: Any, value: Any, mask: Any = None) -> Any:
        attention = lib.MultiHeadAttention(
            2, 4, w_init=lib.initializers.VarianceScaling(2.0), with_bias=with_bias, **options
        )
        return attention(query, value, value, mask)

    return run


def _conv_lstm(n: int) -> Callable[[Any], Any]:
    return lambda lib: getattr(lib, f"Conv{n}DLSTM")((3,) * n, 2, 2)


ROWS = [
    Row("lstm", _step(_lstm), (STEP,)),
    Row("lstm_vector", _step(_lstm, None), ((3,),)),
    Row("lstm_two_dtypes", _step(_lstm, same_dtype=False), (STEP,), ("bfloat16",)),
    Row("gru", _step(_gru), (STEP,)),
    Row("gru_vector", _step(_gru, None), ((3,),)),
    Row("gru_two_dtypes", _step(_gru, same_dtype=False), (STEP,), ("bfloat16",)),
    # Sizes at which another order of a sum shows.
    Row(
        "gru_wide",
        _step(lambda lib: lib.GRU(30, b_init=lib.initializers.RandomNormal()), 36),
        ((36, 25),),
    ),
    Row("vanilla_rnn", _step(lambda lib: lib.VanillaRNN(4, double_bias=False)), (STEP,)),
    Row(
        "vanilla_rnn_vector", _step(lambda lib: lib.VanillaRNN(4, double_bias=True), None), ((3,),)
    ),
    Row("conv1d_lstm", _step(_conv_lstm(1)), ((2, 3, 2),)),
    Row("conv2d_lstm", _step(_conv_lstm(2)), ((2, 3, 3, 2),)),
    Row("conv3d_lstm", _step(_conv_lstm(3)), ((2, 3, 3, 3, 2),)),
    Row("conv2d_lstm_unbatched", _step(_conv_lstm(2), None), ((3, 3, 2),)),
    Row("deep_rnn", _step(_deep), (STEP,)),
    Row("deep_rnn_skip_connections", _step(_skipping), (STEP,)),
    Row("identity_core", lambda lib, x: lib.IdentityCore()(x, {"a": x}), (STEP,)),
    Row(
        "reset_core",
        lambda lib, x: _resetting(lib)((x, RESETS[1]), _resetting(lib).initial_state(2)),
        (STEP,),
    ),
    Row("static_unroll", _sequence(_deep, "static_unroll"), (SEQUENCE,)),
    Row(
        "static_unroll_batch_major",
        _sequence(_lstm, "static_unroll", time_major=False),
        ((2, 4, 3),),
    ),
    Row("static_unroll_state", _stateful_core("static_unroll"), (SEQUENCE,)),
    Row("dynamic_unroll", _sequence(_lstm, "dynamic_unroll"), (SEQUENCE,)),
    Row(
        "dynamic_unroll_batch_major",
        _sequence(_gru, "dynamic_unroll", time_major=False),
        ((2, 4, 3),),
    ),
    Row(
        "dynamic_unroll_reverse",
        _sequence(_deep, "dynamic_unroll", reverse=True, return_all_states=True, unroll=2),
        (SEQUENCE,),
    ),
    Row("dynamic_unroll_resets", _sequence(_resetting, "dynamic_unroll"), (SEQUENCE, RESETS)),
    Row("dynamic_unroll_state", _stateful_core("dynamic_unroll"), (SEQUENCE,)),
    Row("conv1d_lstm_unroll", _sequence(_conv_lstm(1), "dynamic_unroll"), ((4, 2, 3, 2),)),
    Row("attention", _attention(value_size=5, model_size=7), ((2, 4, 6), (2, 5, 3))),
    Row("attention_unbatched", _attention(with_bias=False), ((4, 6), (5, 3))),
    Row("attention_wide", _attention(value_size=4), ((10, 4), (4, 4))),
    Row("attention_mask", _attention(), ((2, 4, 6), (2, 4, 3), CAUSAL)),
    Row("attention_two_batches", _attention(value_size=3), ((2, 3, 4, 6), (2, 3, 5, 3))),
    Row("attention_values_broadcast", _attention(), ((2, 4, 6), (5, 3))),
]
