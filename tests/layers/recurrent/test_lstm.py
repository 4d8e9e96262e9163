"""`LSTM`: bits, flax's cell with the same weights, the projection as a loop in float64, errors."""

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal


def step(lib, x, batch_size, state_dtype):
    core = lib.LSTM(4)
    state = jax.tree.map(
        lambda s: s.astype(state_dtype) + jnp.asarray(0.3, state_dtype),
        core.initial_state(batch_size),
    )
    return core(x, state)


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", [("float32",) * 2, ("bfloat16",) * 2, ("bfloat16", "float32")])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_bits_of_a_step(batch_size, dtypes):
    shape = (3,) if batch_size is None else (batch_size, 3)
    check(
        lambda lib, x: step(lib, x, batch_size, dtypes[1]),
        normal(*shape, dtype=dtypes[0]),
        eager=batch_size == 2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
def test_bits_of_a_sequence(unroll):
    def run(lib, xs):
        core = lib.LSTM(4)
        return getattr(lib, unroll)(core, xs, core.initial_state(2), time_major=False)

    check(run, normal(2, 5, 3))


def test_bits_with_a_cell_that_broadcasts():
    def run(lib, x):
        return lib.LSTM(4)(x, lib.LSTMState(hidden=jnp.zeros([2, 4]), cell=jnp.full([4], 0.3)))

    check(run, normal(2, 3))


def test_lists_and_numpy_arrays():
    def run(lib):
        return lib.LSTM(2)([[1.0, 2.0, 3.0]] * 2, lib.LSTMState(np.ones([2, 2]), np.ones([2, 2])))

    check(run)


def test_same_as_flax():
    f = ps.transform(lambda xs: ps.dynamic_unroll(ps.LSTM(4), xs, ps.LSTM(4).initial_state(2)))
    xs = normal(6, 2, 3)
    params = jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs))
    outs, last = f.apply(params, None, xs)

    w = dict(zip("igfo", jnp.split(params["lstm/linear"]["w"], 4, 1), strict=True))
    b = dict(zip("igfo", jnp.split(params["lstm/linear"]["b"], 4), strict=True))
    b["f"] = b["f"] + 1
    theirs = {f"i{gate}": {"kernel": w[gate][:3]} for gate in "igfo"}
    theirs |= {f"h{gate}": {"kernel": w[gate][3:], "bias": b[gate]} for gate in "igfo"}
    cell = nn.LSTMCell(4)
    carry = jnp.zeros([2, 4]), jnp.zeros([2, 4])
    for x, out in zip(xs, outs, strict=True):
        carry, y = cell.apply({"params": theirs}, carry, x)
        np.testing.assert_allclose(out, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last.cell, carry[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last.hidden, outs[-1])


def test_initial_state():
    def shapes(lib):
        core = lib.LSTM(4)
        states = core.initial_state(None), core.initial_state(3)
        return [
            jax.tree.map(lambda s: (s.shape, str(s.dtype), float(s.sum())), state._asdict())
            for state in states
        ]

    ours, theirs = (lib.transform(lambda lib=lib: shapes(lib)).apply({}, None) for lib in (ps, hk))
    assert ours == theirs
    assert ours[1]["cell"] == ((3, 4), "float32", 0.0)


def run_with(x, batch_size):
    f = ps.transform(lambda x: ps.LSTM(4)(x, ps.LSTM(4).initial_state(batch_size)))
    return f.init(jax.random.key(0), x)


@pytest.mark.parametrize("shape", [(), (1, 1, 1)])
def test_inputs_of_a_wrong_rank(shape):
    with pytest.raises(ps.errors.LayerError, match="'lstm'.*dynamic_unroll"):
        run_with(jnp.ones(shape), None)


@pytest.mark.parametrize(("shape", "batch_size"), [((3, 2), None), ((2,), 3), ((3, 2), 2)])
def test_state_of_another_batch(shape, batch_size):
    with pytest.raises(ps.errors.LayerError, match="initial_state"):
        run_with(jnp.ones(shape), batch_size)
    with pytest.raises(TypeError):  # what dm-haiku raises
        run_with(jnp.ones(shape), batch_size)


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
def test_projection_in_float64(unroll, batch):
    def f(xs):
        core = ps.LSTM(4, projection_size=3)
        return getattr(ps, unroll)(core, xs, core.initial_state(batch[0] if batch else None))

    g = ps.transform(f)
    xs = normal(6, *batch, 2)
    params = jax.tree.map(lambda x: x + 0.1, g.init(jax.random.key(0), xs))
    assert jax.tree.map(jnp.shape, params) == {
        "lstm/linear": {"w": (2 + 3, 16), "b": (16,)},
        "lstm/projection": {"w": (4, 3)},
    }
    outs, last = g.apply(params, None, xs)
    assert (last.hidden.shape, last.cell.shape) == ((*batch, 3), (*batch, 4))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    w, b = (np.float64(params["lstm/linear"][name]) for name in "wb")
    project = np.float64(params["lstm/projection"]["w"])
    h, c = np.zeros([*batch, 3]), np.zeros([*batch, 4])
    for x, out in zip(np.float64(xs), outs, strict=True):
        i, g_, f_, o = np.split(np.concatenate([x, h], -1) @ w + b, 4, -1)
        c = sigmoid(f_ + 1) * c + sigmoid(i) * np.tanh(g_)
        h = (sigmoid(o) * np.tanh(c)) @ project
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last.hidden, outs[-1])
    np.testing.assert_allclose(last.cell, c, rtol=1e-5, atol=1e-6)


def test_projection_shows_where_it_is_given():
    shown = ps.transform(lambda: [repr(ps.LSTM(4)), repr(ps.LSTM(4, projection_size=3))]).apply(
        {}, None
    )
    assert shown == ["LSTM(hidden_size=4)", "LSTM(hidden_size=4, projection_size=3)"]


def test_projection_to_nothing():
    with pytest.raises(ps.errors.LayerError, match="'lstm'.*at least 1; got 0"):
        ps.transform(lambda: ps.LSTM(4, projection_size=0)).apply({}, None)
