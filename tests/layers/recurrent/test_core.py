"""`RNNCore`: it is abstract, what is derived from it works with what is here, and none of that needs a batch."""

import abc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal


class Half(ps.RNNCore):
    def __call__(self, inputs, prev_state):
        return inputs, prev_state


def test_is_abstract():
    assert issubclass(ps.RNNCore, (ps.Module, abc.ABC))
    with pytest.raises(TypeError, match="initial_state"):
        ps.transform(Half).init(None)


def test_subclass_with_a_name_and_state():
    class Counting(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            n = ps.get_state("n", [], init=jnp.zeros)
            ps.set_state("n", n + 1)
            return inputs + prev_state, prev_state

        def initial_state(self, batch_size):
            return ps.get_parameter("first", [], init=jnp.ones)

    def f(xs):
        core = Counting(name="count")
        return ps.dynamic_unroll(core, xs, core.initial_state(None))

    g = ps.transform_with_state(f)
    params, state = g.init(None, jnp.zeros([5]))
    (outs, last), state = g.apply(params, state, None, jnp.zeros([5]))
    assert outs.tolist() == [1.0] * 5
    assert float(last) == 1.0
    assert float(state["count"]["n"]) == 5.0


CORES = {
    "lstm": lambda: ps.LSTM(3),
    "lstm with a projection": lambda: ps.LSTM(4, projection_size=3),
    "gru": lambda: ps.GRU(3),
    "gru, reset after": lambda: ps.GRU(3, reset_after=True),
    "vanilla": lambda: ps.VanillaRNN(3),
    "vanilla with an activation": lambda: ps.VanillaRNN(3, activation=jnp.tanh),
    "identity": ps.IdentityCore,
    "deep": lambda: ps.DeepRNN([ps.LSTM(4, projection_size=2), jnp.tanh, ps.GRU(3)]),
    "skip": lambda: ps.deep_rnn_with_skip_connections([ps.LSTM(2), ps.GRU(1)]),
    "residual": lambda: ps.deep_rnn_with_residual_connections([ps.LSTM(3), ps.GRU(3)]),
    "dropout": lambda: ps.RecurrentDropout(ps.LSTM(3), 0.5, is_training=False),
    "trainable": lambda: ps.TrainableInitialState(ps.LSTM(4, projection_size=3)),
    "conv": lambda: ps.Conv1DLSTM([3], 1, 2),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", CORES)
def test_without_a_batch_each_core_does_what_it_does_for_one_row(name):
    def f(xs, lengths, batch_size):
        core = CORES[name]()
        return ps.dynamic_unroll(core, xs, core.initial_state(batch_size), sequence_length=lengths)

    g = ps.transform(f)
    xs = normal(5, 2, 3, 1) if name == "conv" else normal(5, 2, 3)
    lengths = np.array([5, 3])
    params = jax.tree.map(lambda x: x + 0.1, g.init(jax.random.key(0), xs, lengths, 2))
    batch = g.apply(params, None, xs, lengths, 2)
    assert batch[0].shape == xs.shape
    for row in range(2):
        alone = g.apply(params, None, xs[:, row], lengths[row], None)
        expected = batch[0][:, row], jax.tree.map(lambda s, row=row: s[row], batch[1])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), alone, expected
        )
