"""`Bidirectional`: flax's with the same weights, the two unrolls by hand, errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal

LENGTHS = np.array([5, 2, 1])


def flax_cell(params):
    """The weights of an LSTM, as those of flax's cell; there the gates are i, f, g, o, and nothing is added to f."""
    w, b = (dict(zip("igfo", jnp.split(params[name], 4, -1), strict=True)) for name in "wb")
    b["f"] = b["f"] + 1
    inputs = {f"i{gate}": {"kernel": w[gate][:2]} for gate in "igfo"}
    return inputs | {f"h{gate}": {"kernel": w[gate][2:], "bias": b[gate]} for gate in "igfo"}


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("time_major", [True, False])
def test_same_as_flax(time_major, lengths):
    f = ps.transform(
        lambda xs: ps.Bidirectional(ps.LSTM(4), ps.LSTM(3))(
            xs, sequence_length=lengths, time_major=time_major
        )
    )
    xs = normal(*((5, 3, 2) if time_major else (3, 5, 2)))
    params = jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs))
    assert list(params) == ["lstm/linear", "lstm_1/linear"]
    outs, states = f.apply(params, None, xs)

    both = nn.Bidirectional(
        nn.RNN(nn.OptimizedLSTMCell(4)),
        nn.RNN(nn.OptimizedLSTMCell(3)),
        time_major=time_major,
        return_carry=True,
    )
    cells = dict(zip(("forward_rnn", "backward_rnn"), map(flax_cell, params.values()), strict=True))
    theirs = {name: {"cell": cell} for name, cell in cells.items()}
    carries, expected = both.apply({"params": theirs}, xs, seq_lengths=lengths)
    valid = np.ones([5, 3], bool) if lengths is None else np.arange(5)[:, None] < lengths
    valid = valid if time_major else valid.T
    np.testing.assert_allclose(outs, np.where(valid[..., None], expected, 0), rtol=1e-5, atol=1e-6)
    for state, (cell, hidden) in zip(states, carries, strict=True):
        np.testing.assert_allclose(state.cell, cell, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.hidden, hidden, rtol=1e-5, atol=1e-6)


class Sum(ps.RNNCore):
    def __call__(self, inputs, prev_state):
        return prev_state + inputs, prev_state + inputs

    def initial_state(self, batch_size):
        return jnp.zeros([1] if batch_size is None else [batch_size, 1])


FORWARD, BACKWARD = [1.0, 3.0, 6.0], [6.0, 5.0, 3.0]


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("concat", list(zip(FORWARD, BACKWARD, strict=True))),
        ("sum", [(7.0,), (8.0,), (9.0,)]),
        (lambda f, b: f - b, [(-5.0,), (-2.0,), (3.0,)]),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_merge(batch, merge, expected):
    xs = jnp.broadcast_to(jnp.arange(1.0, 4).reshape(3, *(1 for _ in batch), 1), (3, *batch, 1))
    outs, states = ps.transform(lambda: ps.Bidirectional(Sum(), Sum(), merge)(xs)).apply({}, None)
    assert (outs[:, 0] if batch else outs).tolist() == [list(out) for out in expected]
    assert [s.shape for s in states] == [(*batch, 1)] * 2
    assert [float(s.mean()) for s in states] == [6.0, 6.0]


def test_no_merge_and_an_initial_state():
    def f():
        both = ps.Bidirectional(Sum(), Sum(), merge=None)
        assert [s.shape for s in both.initial_state(2)] == [(2, 1)] * 2
        return both(jnp.arange(1.0, 4)[:, None], (jnp.array([10.0]), jnp.array([20.0])), unroll=3)

    (forward, backward), states = ps.transform(f).apply({}, None)
    assert forward[:, 0].tolist() == [10 + x for x in FORWARD]
    assert backward[:, 0].tolist() == [20 + x for x in BACKWARD]
    assert [s.tolist() for s in states] == [[16.0], [26.0]]


@pytest.mark.slow
def test_trees_and_deep_cores():
    def f(xs, lengths):
        cores = [ps.DeepRNN([ps.GRU(2), jnp.tanh, ps.LSTM(3)]) for _ in range(2)]
        return ps.Bidirectional(*cores, merge="sum")(xs, sequence_length=lengths)

    f = ps.transform(f)
    xs = normal(4, 2, 3)
    outs, ((gru, lstm), _) = f.apply(
        f.init(jax.random.key(0), xs, np.array([4, 1])), None, xs, np.array([4, 1])
    )
    assert (outs.shape, gru.shape, lstm.cell.shape) == ((4, 2, 3), (2, 2), (2, 3))
    np.testing.assert_array_equal(outs[1:, 1], 0)


@pytest.mark.parametrize("merge", ["add", 3])
def test_unknown_merge(merge):
    with pytest.raises(ps.errors.LayerError, match=f"'bidirectional'.*{merge!r}"):
        ps.transform(lambda: ps.Bidirectional(Sum(), Sum(), merge)).apply({}, None)


@pytest.mark.parametrize("xs", [(), np.ones([3])])
def test_inputs_that_do_not_tell_the_batch(xs):
    with pytest.raises(ps.errors.LayerError, match=r"'bidirectional'.*initial_state\(batch_size\)"):
        ps.transform(lambda: ps.Bidirectional(Sum(), Sum())(xs)).apply({}, None)
