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


class Holding(ps.RNNCore):
    """A core whose state is any pytree of names, each array with a value of its own."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def __call__(self, inputs, prev_state):
        return inputs, prev_state

    def initial_state(self, batch_size):
        return self.state


def numbered(tree):
    """Replaces the leaves by different numbers."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([jnp.full([2], float(i)) for i in range(len(leaves))])


STATES = {
    "no two alike": ({"a": 0, "b": {"c": 0}}, ["a", "b_c"]),
    "one level and two": ({"a_b": 0, "a": {"b": 0}}, ["a_b", "a_b_1"]),
    "three ways": (
        {"a": {"b": {"c": 0}, "b_c": 0}, "a_b": {"c": 0}},
        ["a_b_c", "a_b_c_1", "a_b_c_2"],
    ),
    "the number is taken": ({"a": {"b": 0}, "a_b": 0, "a_b_1": 0}, ["a_b", "a_b_2", "a_b_1"]),
    "a list": ([{"1": 0}, 0, {"0": {"1": 0}}, {"0_1": 0}], ["0_1", "1", "2_0_1", "3_0_1"]),
    "an index and a key": ({"x": [0, 0], "x_1": 0}, ["x_0", "x_1", "x_1_1"]),
    "one array": (0, ["state"]),
    "a name like the default": ({"state": 0, "s": (0,)}, ["s_0", "state"]),
    "inside dropout": (
        {"a": ps.RecurrentDropoutState({"b": 0}, 0), "a_b": 0},
        ["a_b", "a_b_1"],
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_each_array_is_a_parameter_of_its_own(case):
    tree, names = STATES[case]
    state = numbered(tree)
    f = ps.transform(lambda: ps.TrainableInitialState(Holding(state)).initial_state(None))
    params = f.init(None)
    assert sorted(params["trainable_initial_state"]) == sorted(names)
    jax.tree.map(np.testing.assert_array_equal, f.apply(params, None), state)
    changed = jax.tree.map(lambda x: x + 10, params)
    learned = ps.RecurrentDropoutState if case == "inside dropout" else None
    found = f.apply(changed, None)
    if learned:  # the mask is no parameter
        found, state = ({"a": t["a"].state, "a_b": t["a_b"]} for t in (found, state))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 10), found, state)


def test_a_tree_of_random_names():
    draw = np.random.RandomState(0)

    def tree(depth):
        parts = [draw.choice(["a", "b", "a_b", "a_b_1", "1"]) for _ in range(3)]
        return {part: tree(depth - 1) if draw.rand() < 0.6 and depth else 0 for part in parts}

    for _ in range(40):
        state = numbered(tree(3))
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
        joined = ["_".join(str(key.key) for key in path) for path in paths]
        f = ps.transform(lambda s=state: ps.TrainableInitialState(Holding(s)).initial_state(None))
        params = f.init(None)["trainable_initial_state"]
        assert len(params) == len(joined)
        for name, leaf in zip(joined, jax.tree.leaves(state), strict=True):
            if joined.count(name) == 1:  # these keep the names that they have always had
                np.testing.assert_array_equal(params[name], leaf)
