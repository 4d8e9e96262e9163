"""`TrainableInitialState`: its parameters, their gradients by hand, and who asks for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal

# A core, and the names and shapes of its parameters.
CORES = {
    "gru": (lambda: ps.GRU(4), {"state": (4,)}),
    "lstm": (lambda: ps.LSTM(4, projection_size=3), {"hidden": (3,), "cell": (4,)}),
    "conv": (lambda: ps.Conv1DLSTM([5], 2, 3), {"hidden": (5, 2), "cell": (5, 2)}),
    "deep": (
        lambda: ps.DeepRNN([ps.LSTM(2), ps.GRU(3)]),
        {"0_hidden": (2,), "0_cell": (2,), "1": (3,)},
    ),
    "identity": (ps.IdentityCore, {}),
}


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("name", CORES)
def test_parameters(name, batch_size):
    make, shapes = CORES[name]
    f = ps.transform(
        lambda: ps.TrainableInitialState(make(), name="start").initial_state(batch_size)
    )
    params = f.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params.get("start", {})) == shapes
    assert not any(np.any(x) for x in jax.tree.leaves(params))
    params = jax.tree.map(lambda x: normal(*x.shape), params)
    state = f.apply(params, None)
    zeros = ps.transform(lambda: make().initial_state(batch_size)).apply({}, None)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, zeros)
    for found, name in zip(jax.tree.leaves(state), shapes, strict=True):
        np.testing.assert_array_equal(found, np.broadcast_to(params["start"][name], found.shape))


def test_gradient_is_the_sum_over_the_batch():
    xs = normal(5, 3, 2)

    def learned(xs):
        core = ps.TrainableInitialState(ps.LSTM(4))
        return ps.dynamic_unroll(core, xs, core.initial_state(3))[0]

    f, g = (
        ps.transform(learned),
        ps.transform(lambda xs, s: ps.dynamic_unroll(ps.LSTM(4), xs, s)[0]),
    )
    params = jax.tree.map(lambda x: normal(*x.shape), f.init(jax.random.key(0), xs))
    assert sorted(params) == ["lstm/linear", "trainable_initial_state"]
    start = params["trainable_initial_state"]
    state = ps.LSTMState(*(jnp.broadcast_to(start[name], [3, 4]) for name in ("hidden", "cell")))

    def loss(outs):
        return jnp.sum(jnp.sin(outs))

    grads = jax.grad(lambda p: loss(f.apply(p, None, xs)))(params)["trainable_initial_state"]
    by_hand = jax.grad(lambda s: loss(g.apply(params, None, xs, s)))(state)
    np.testing.assert_allclose(grads["hidden"], by_hand.hidden.sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads["cell"], by_hand.cell.sum(0), rtol=1e-5, atol=1e-6)
    assert np.abs(grads["cell"]).min() > 0


class Counting(ps.RNNCore):
    """A state with a value that is not zero, and one that cannot be learned."""

    def __call__(self, inputs, prev_state):
        return prev_state["level"] + inputs, {
            "level": prev_state["level"] + inputs,
            "n": prev_state["n"] + 1,
        }

    def initial_state(self, batch_size):
        return {"level": jnp.full([batch_size, 2], 0.25), "n": jnp.zeros([batch_size], int)}


def test_first_values():
    made = [
        ps.transform(
            lambda init=init: ps.TrainableInitialState(Counting(), init).initial_state(3)
        ).init(jax.random.key(0))
        for init in (None, jnp.ones, ps.initializers.RandomNormal())
    ]
    assert [list(params["trainable_initial_state"]) for params in made] == [["level"]] * 3
    values = [params["trainable_initial_state"]["level"] for params in made]
    assert [v.shape for v in values] == [(2,)] * 3
    assert values[0].tolist() == [0.25, 0.25]
    assert values[1].tolist() == [1.0, 1.0]
    assert values[2][0] != values[2][1]


def test_reset_core_and_bidirectional_ask_for_it():
    def f(xs):
        reset = ps.ResetCore(ps.TrainableInitialState(ps.GRU(2)))
        should_reset = jnp.array([[False], [True]])
        both = ps.Bidirectional(*(ps.TrainableInitialState(ps.GRU(2)) for _ in range(2)))
        return ps.dynamic_unroll(reset, (xs, should_reset), jnp.zeros([1, 2]))[0], both(xs)[0]

    g = ps.transform(f)
    xs = jnp.zeros([2, 1, 3])
    params = g.init(jax.random.key(0), xs)
    for i, start in enumerate(("", "_1", "_2")):
        params["gru" + start] = jax.tree.map(jnp.zeros_like, params["gru" + start])
        params["trainable_initial_state" + start] = {"state": jnp.full([2], 2.0**i)}
    # With zeros for weights and inputs a GRU halves its state at each step.
    outs, both = g.apply(params, None, xs)
    assert outs[:, 0, 0].tolist() == [0.0, 0.5]
    assert both[:, 0, 0].tolist() == [1.0, 0.5]
    assert both[:, 0, 2].tolist() == [1.0, 2.0]


def test_masks_of_dropout_are_not_learned():
    def f():
        layers = [ps.RecurrentDropout(ps.LSTM(2), 0.5, True), ps.GRU(3)]
        return ps.TrainableInitialState(ps.DeepRNN(layers)).initial_state(7)

    g = ps.transform(f)
    params = g.init(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params["trainable_initial_state"])
    assert shapes == CORES["deep"][1]  # the names that it has without dropout
    dropout, _ = g.apply(params, jax.random.key(1))
    assert set(np.unique(dropout.mask)) == {0.0, 2.0}


def test_what_does_not_fit():
    class Scalar(Counting):
        def initial_state(self, batch_size):
            return {"level": jnp.zeros([])}

    with pytest.raises(
        ps.errors.LayerError, match=r"'trainable_initial_state'.*batch_size=3 'level'.*\(\)"
    ):
        ps.transform(lambda: ps.TrainableInitialState(Scalar()).initial_state(3)).init(None)
    with pytest.raises(ps.errors.LayerError, match="'trainable_initial_state' takes a core"):
        ps.transform(lambda: ps.TrainableInitialState(jnp.tanh)).init(None)
