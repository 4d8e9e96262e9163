"""`VanillaRNN`: bits, and a loop in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_bits_of_a_step(batch_size, dtype):
    def run(lib, x):
        core = lib.VanillaRNN(4, double_bias=batch_size is None)
        return core(x, core.initial_state(batch_size) + jnp.asarray(0.3, x.dtype))

    shape = (3,) if batch_size is None else (batch_size, 3)
    check(run, normal(*shape, dtype=dtype), eager=batch_size == 2)


@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
def test_bits_of_a_sequence(unroll):
    def run(lib, xs):
        core = lib.VanillaRNN(4)
        return getattr(lib, unroll)(core, xs, core.initial_state(2))

    check(run, normal(5, 2, 3))


def test_loop_in_float64():
    f = ps.transform(lambda xs: ps.dynamic_unroll(ps.VanillaRNN(4), xs, jnp.full([4], 0.5)))
    xs = normal(6, 3)
    params = jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs))
    outs, last = f.apply(params, None, xs)
    w, b = (np.float64(params["vanilla_rnn/linear"][name]) for name in "wb")
    w_h, b_h = (np.float64(params["vanilla_rnn/linear_1"][name]) for name in "wb")
    h = np.full([4], 0.5)
    for x, out in zip(np.float64(xs), np.asarray(outs), strict=True):
        h = np.maximum(x @ w + b + h @ w_h + b_h, 0)
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)
    assert last.tolist() == outs[-1].tolist()


def test_activation_in_float64():
    f = ps.transform(
        lambda xs: ps.dynamic_unroll(ps.VanillaRNN(4, activation=jnp.tanh), xs, jnp.full([4], 0.5))[
            0
        ]
    )
    xs = normal(6, 3)
    params = jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs))
    w, w_h = (np.float64(params["vanilla_rnn/" + name]["w"]) for name in ("linear", "linear_1"))
    b = sum(np.float64(params["vanilla_rnn/" + name]["b"]) for name in ("linear", "linear_1"))
    h = np.full([4], 0.5)
    for x, out in zip(np.float64(xs), f.apply(params, None, xs), strict=True):
        h = np.tanh(x @ w + h @ w_h + b)
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)


def test_activation_shows_where_it_is_given():
    shown = ps.transform(
        lambda: [repr(ps.VanillaRNN(4)), repr(ps.VanillaRNN(4, activation=abs))]
    ).apply({}, None)
    assert shown == [
        "VanillaRNN(hidden_size=4)",
        "VanillaRNN(hidden_size=4, activation=<built-in function abs>)",
    ]
