"""`ResetCore`: bits, a loop that starts anew by hand, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal

RESETS = jnp.array([[0, 0], [1, 0], [0, 0], [1, 1], [0, 0]], bool)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("reset_dtype", ["bool", "float32"])
def test_bits(reset_dtype, dtype):
    def run(lib, xs, should_reset):
        core = lib.ResetCore(lib.LSTM(4))
        return lib.dynamic_unroll(core, (xs, should_reset), core.initial_state(2))

    check(run, normal(5, 2, 3, dtype=dtype), RESETS.astype(reset_dtype))


def test_bits_with_a_tree_of_signals():
    def run(lib, xs):
        core = lib.ResetCore(lib.DeepRNN([lib.LSTM(4), lib.GRU(3)]))
        signal = jnp.array([True, False])
        signals = (lib.LSTMState(signal, ~signal), signal)
        state = jax.tree.map(lambda s: s + 0.3, core.initial_state(2))
        return core((xs, signals), state)

    check(run, normal(2, 3))


def test_bits_without_a_batch():
    def run(lib, x, should_reset):
        core = lib.ResetCore(lib.GRU(4))
        return core((x, should_reset), jnp.ones([4]))

    check(run, normal(3), jnp.array(True))


def test_a_core_starts_anew_where_it_is_told():
    def f(xs, should_reset):
        core = ps.GRU(4)
        reset = ps.ResetCore(core)
        outs, _ = ps.dynamic_unroll(reset, (xs, should_reset), reset.initial_state(2))
        state = core.initial_state(2)
        by_hand = []
        for x, now in zip(xs, should_reset, strict=True):
            state = jnp.where(now[:, None], core.initial_state(2), state)
            out, state = core(x, state)
            by_hand.append(out)
        return outs, jnp.stack(by_hand)

    g = ps.transform(f)
    params = g.init(jax.random.key(0), normal(5, 2, 3), RESETS)
    outs, by_hand = g.apply(params, None, normal(5, 2, 3), RESETS)
    np.testing.assert_allclose(outs, by_hand, rtol=1e-6)
    never, _ = g.apply(params, None, normal(5, 2, 3), jnp.zeros_like(RESETS))
    assert not np.allclose(never[1, 0], outs[1, 0])
    np.testing.assert_array_equal(never[0], outs[0])


class Sum(ps.RNNCore):
    """Its state is a number, or one for each of a batch."""

    def __call__(self, inputs, prev_state):
        return prev_state + inputs, prev_state + inputs

    def initial_state(self, batch_size):
        return jnp.zeros([] if batch_size is None else [batch_size])


def test_state_that_is_a_number():
    # dm-haiku takes the first axis of the inputs for a batch here, and gives a state of its size.
    def f(x, should_reset, state):
        return ps.ResetCore(Sum())((x, should_reset), state)

    g = ps.transform(f)
    _, state = g.apply({}, None, jnp.ones([]), jnp.array(True), jnp.array(7.0))
    assert (state.shape, float(state)) == ((), 1.0)
    _, state = g.apply({}, None, jnp.ones([3]), jnp.array([True, False, True]), jnp.full([3], 7.0))
    assert state.tolist() == [1.0, 8.0, 1.0]


def test_initial_state_has_the_dtype_of_the_state():
    def f():
        return ps.ResetCore(Sum())(
            (jnp.ones([2], jnp.bfloat16), jnp.array([True, False])), jnp.ones([2], jnp.bfloat16)
        )

    assert ps.transform(f).apply({}, None)[1].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("should_reset", "state"),
    [
        (np.ones([2, 1, 1], bool), np.zeros([2, 2])),
        (np.ones([3], bool), np.zeros([2, 2])),
        ({"core": np.ones([2], bool)}, {"another": np.zeros([2, 2])}),
    ],
)
def test_signals_that_do_not_fit(should_reset, state):
    class Core(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            return inputs, prev_state

        def initial_state(self, batch_size):
            return state

    f = ps.transform(lambda: ps.ResetCore(Core())((np.ones([2, 2]), should_reset), state))
    with pytest.raises(ValueError, match="should_reset|key"):
        f.apply({}, None)
