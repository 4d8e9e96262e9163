"""Collections by name: `BiasAdderWithRunningMean` of Flax's manual and what follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import purestate as ps

X = jnp.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 10.0]])

# Losses, biases and means of ten steps, of linen and of a float64 reference.
LOSSES = (
    190.23,
    132.183132,
    94.724367,
    71.19936,
    56.95872,
    48.78463,
    44.475098,
    42.543799,
    42.004437,
    42.216667,
)
LAST_BIAS = (1.136875, 1.515833, 2.273750)
LAST_MEAN = (1.953965, 2.605286, 3.907929)


class BiasAdder(ps.Module):
    def __call__(self, x):
        is_initialized = ps.has_variable("batch_stats", "mean")
        mean = ps.variable("batch_stats", "mean", x.shape[1:], init=jnp.zeros)
        bias = ps.get_parameter("bias", x.shape[1:], init=jnp.zeros)
        if is_initialized:
            mean.value = 0.9 * mean.value + 0.1 * x.mean(0, keepdims=True)
        return mean.value + bias


class LinenBiasAdder(nn.Module):
    @nn.compact
    def __call__(self, x):
        is_initialized = self.has_variable("batch_stats", "mean")
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[1:])
        bias = self.param("bias", lambda rng, shape: jnp.zeros(shape), x.shape[1:])
        if is_initialized:
            mean.value = 0.9 * mean.value + 0.1 * x.mean(0, keepdims=True)
        return mean.value + bias


f = ps.transform_with_collections(lambda x: BiasAdder()(x))


def train(apply, variables, x, jit, steps=10):
    """The training loop of Flax's manual."""
    state, params = ps.data_structures.pop(variables, "params")
    tx = optax.sgd(0.02)
    opt_state = tx.init(params)

    def step(params, state, opt_state):
        def loss(params):
            y, updated = apply({"params": params, **state}, x)
            return ((x - y) ** 2).sum(), updated

        (value, updated), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), updated, opt_state, value

    losses = []
    for _ in range(steps):
        params, state, opt_state, value = (jax.jit(step) if jit else step)(params, state, opt_state)
        losses.append(float(value))
    return losses, params, state


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("form", ["collections", "state"])
def test_numbers_of_the_seed(form, jit):
    if form == "collections":
        variables = f.init(jax.random.key(0), X)
        assert list(variables) == ["params", "batch_stats"]

        def apply(variables, x):
            return f.apply(variables, None, x, mutable=["batch_stats"])

    else:
        g = ps.transform_with_state(lambda x: BiasAdder()(x))
        params, state = g.init(None, X)
        variables = {"params": params, "state": state}

        def apply(variables, x):
            out, state = g.apply(variables["params"], variables["state"], None, x)
            return out, {"state": state}

    losses, params, state = train(apply, variables, X, jit)
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5)
    np.testing.assert_allclose(params["bias_adder"]["bias"], LAST_BIAS, rtol=1e-5)
    (state,) = state.values()
    np.testing.assert_allclose(state["bias_adder"]["mean"], [LAST_MEAN], rtol=1e-5)


def test_same_as_linen():
    module = LinenBiasAdder()
    theirs = train(
        lambda v, x: module.apply(v, x, mutable=["batch_stats"]),
        dict(module.init(jax.random.key(0), X)),
        X,
        jit=True,
    )
    ours = train(
        lambda v, x: f.apply(v, None, x, mutable=["batch_stats"]), f.init(None, X), X, jit=True
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1]["bias_adder"]["bias"], theirs[1]["bias"], rtol=1e-6)


def test_second_input():
    x = jnp.ones([4, 2])
    losses, params, state = train(
        lambda v, x: f.apply(v, None, x, mutable=["batch_stats"]), f.init(None, x), x, jit=False
    )
    np.testing.assert_allclose(params["bias_adder"]["bias"], [0.41706535] * 2, rtol=1e-6)
    np.testing.assert_allclose(
        state["batch_stats"]["bias_adder"]["mean"], [[0.65132153] * 2], rtol=1e-6
    )
    assert losses[-1] == pytest.approx(0.053024497, rel=1e-5)


def test_init_gives_first_values_whether_guarded_or_not():
    def unguarded(x):
        mean = ps.variable("batch_stats", "mean", x.shape[1:], init=jnp.zeros)
        mean.value = 0.9 * mean.value + 0.1 * x.mean(0, keepdims=True)

    variables = ps.transform_with_collections(unguarded).init(None, X)
    assert variables["batch_stats"]["~"]["mean"].tolist() == [0, 0, 0]
    assert f.init(None, X)["batch_stats"]["bias_adder"]["mean"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("mutable", "collections"),
    [
        (False, None),
        ([], None),
        (True, ["params", "batch_stats"]),
        ("batch_stats", ["batch_stats"]),
        (["batch_stats"], ["batch_stats"]),
        (("params", "batch_stats"), ["params", "batch_stats"]),
        (ps.AllBut("params"), ["batch_stats"]),
        (ps.AllBut(["params", "batch_stats"]), []),
    ],
    ids=str,
)
def test_what_apply_returns(mutable, collections):
    g = ps.transform_with_collections(
        lambda x: (
            x
            + ps.get_parameter("b", [], init=jnp.ones)
            + ps.variable("batch_stats", "m", [], init=jnp.ones).value
        )
    )
    result = g.apply(g.init(None, 1.0), None, 1.0, mutable=mutable)
    if collections is None:
        assert float(result) == 3
    else:
        out, updated = result
        assert float(out) == 3
        assert list(updated) == collections


@pytest.mark.parametrize(
    "mutable", [False, [], "params", ps.AllBut("batch_stats"), ["cache"]], ids=str
)
def test_write_to_what_is_not_mutable(mutable):
    variables = f.init(None, X)
    with pytest.raises(
        ps.errors.ImmutableCollectionError,
        match=r"'mean' of 'bias_adder' in the collection 'batch_stats'",
    ) as e:
        f.apply(variables, None, X, mutable=mutable)
    assert "mutable=['batch_stats']" in str(e.value)
    assert isinstance(e.value, ValueError)


def test_near_miss_is_suggested():
    with pytest.raises(
        ps.errors.ImmutableCollectionError,
        match="Is 'batch_stat' meant to be 'batch_stats'",
    ):
        f.apply(f.init(None, X), None, X, mutable=["batch_stat"])


def test_what_is_missing():
    variables = f.init(None, X)
    with pytest.raises(
        ps.errors.MissingStateError, match=r"'mean' of 'bias_adder' in the collection 'batch_stats'"
    ):
        f.apply({"params": variables["params"]}, None, X)
    with pytest.raises(ps.errors.MissingParameterError, match="'bias' of 'bias_adder'"):
        f.apply({"batch_stats": variables["batch_stats"]}, None, X)
    out, updated = f.apply({"params": variables["params"]}, None, X, mutable=["batch_stats"])
    assert out.tolist() == [0, 0, 0]
    assert updated["batch_stats"]["bias_adder"]["mean"].tolist() == [0, 0, 0]


def test_inputs_are_left_alone():
    variables = f.init(None, X)
    before = jax.tree.map(np.array, variables)
    f.apply(variables, None, X, mutable=True)
    rest, popped = ps.data_structures.pop(variables, "params")
    assert list(rest) == ["batch_stats"]
    assert popped == variables["params"]
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_two_collections_may_have_one_name_where_each_is_by_itself():
    def both():
        a = ps.variable("a", "x", [], init=jnp.zeros)
        b = ps.variable("b", "x", [], init=jnp.ones)
        a.value += 5
        return a.value, b.value

    g = ps.transform_with_collections(both)
    variables = g.init(None)
    out, updated = g.apply(variables, None, mutable=["a"])
    assert [float(x) for x in out] == [5, 1]
    assert list(updated) == ["a"]
    with pytest.raises(
        ps.errors.CollectionError,
        match="'x' of '~' is in the collection 'a', but was requested in 'b'",
    ):
        ps.transform_with_state(both).init(None)


def test_state_that_becomes_part_of_a_collection():
    def twice():
        ps.get_state("x", [], init=jnp.zeros)
        ps.variable("cache", "x", [], init=jnp.zeros)

    with pytest.raises(ps.errors.CollectionError, match="'state'"):
        ps.transform_with_state(twice).init(None)


def test_batch_norm_is_in_batch_stats_and_its_bits_do_not_change():
    def forward(x):
        return ps.BatchNorm(True, True, 0.9)(x, is_training=True)

    g, h = ps.transform_with_collections(forward), ps.transform_with_state(forward)
    variables, (params, state) = g.init(None, X), h.init(None, X)
    assert list(variables) == ["params", "batch_stats"]
    jax.tree.map(
        np.testing.assert_array_equal,
        (variables["params"], variables["batch_stats"]),
        (params, state),
    )
    (out, updated), (theirs, new_state) = (
        g.apply(variables, None, X, mutable="batch_stats"),
        h.apply(params, state, None, X),
    )
    jax.tree.map(np.testing.assert_array_equal, (out, updated["batch_stats"]), (theirs, new_state))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"linear": {"w": jnp.ones([2])}}, "one level short"),
        ({"params": jnp.ones([2])}, "'params' is an array of shape"),
        (jnp.ones([2]), "`variables` was expected to be a dict"),
    ],
)
def test_variables_in_another_form(variables, words):
    with pytest.raises(ps.errors.ArgumentError, match=words):
        f.apply(variables, None, X)
