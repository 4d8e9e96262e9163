"""`Residual` against the sum written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [4, 3])


def test_the_sum():
    f = ps.transform(lambda x: ps.Residual(ps.Linear(3))(x))
    g = ps.transform(lambda x: x + ps.Linear(3)(x))
    params = f.init(KEY, X)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, params, g.init(KEY, X)))
    for wrap in (lambda f: f, jax.jit):
        np.testing.assert_array_equal(
            wrap(f.apply)(params, None, X), wrap(g.apply)(params, None, X)
        )
    loss = lambda pair: jax.grad(lambda x: pair.apply(params, None, x).sum())
    np.testing.assert_array_equal(loss(f)(X), loss(g)(X))


def test_names_are_those_of_the_layers():
    def f(x):
        block = ps.Residual(ps.Sequential([ps.Linear(8), jax.nn.relu, ps.Linear(3)]))
        return block(ps.Residual(lambda x: ps.Linear(3)(x), name="skip")(x))

    assert list(ps.transform(f).init(KEY, X)) == ["skip/linear", "linear", "linear_1"]


def test_other_arguments_go_to_the_layer():
    def layer(x, factor, *, is_training):
        return x * factor if is_training else x

    f = ps.transform(lambda x: ps.Residual(layer)(x, 3, is_training=True))
    np.testing.assert_allclose(f.apply({}, None, X), 4 * X, rtol=1e-6)


def test_a_layer_with_state():
    f = ps.transform_with_state(lambda x: ps.Residual(ps.BatchNorm(True, True, 0.9))(x, True))
    params, state = f.init(KEY, X)
    out, state = f.apply(params, state, None, X)
    expected = X + (X - X.mean(0)) / jnp.sqrt(X.var(0) + 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        state["batch_norm/~/mean_ema"]["average"], X.mean(0)[None], rtol=1e-4
    )


@pytest.mark.parametrize(
    "layer, message",
    [
        (lambda: ps.Linear(2), r"shape \(4, 3\), but its layer returns \(4, 2\)"),
        (lambda: ps.Linear(1), r"returns \(4, 1\)"),  # it would broadcast
        (lambda: lambda x: (x, x), "the layer returned a tuple"),
        (lambda: lambda x: None, "the layer returned None"),
    ],
    ids=["other shape", "broadcast", "tuple", "None"],
)
def test_what_cannot_be_added(layer, message):
    with pytest.raises(ps.errors.LayerError, match="Residual 'residual'.*" + message):
        ps.transform(lambda x: ps.Residual(layer())(x)).init(KEY, X)


@pytest.mark.parametrize(
    "layer, message",
    [
        (lambda: [ps.Linear(3)], r"write ps.Residual\(ps.Sequential\(\[first, second\]\)\)"),
        (lambda: ps.Linear, "Make an instance of it: Linear"),
        (lambda: 3, "needs a module or a function"),
    ],
    ids=["list", "class", "number"],
)
def test_what_is_not_a_layer(layer, message):
    with pytest.raises(ps.errors.ArgumentError, match=message):
        ps.transform(lambda x: ps.Residual(layer())(x)).init(KEY, X)


def test_an_input_that_is_not_an_array():
    with pytest.raises(ps.errors.LayerError, match="Residual 'residual' needs an array"):
        ps.transform(lambda: ps.Residual(jnp.tanh)(3.0)).init(KEY)
