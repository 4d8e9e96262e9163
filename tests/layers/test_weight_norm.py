"""Weight normalization: float64 arithmetic, flax, and that nothing changes at first."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.errors import LayerError
from purestate._layers.weight_norm import WeightNorm, weight_norm

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [4, 6])
IMAGE = jax.random.normal(jax.random.key(2), [2, 5, 5, 3])
MAKE = {
    "Linear": (lambda: ps.Linear(3, b_init=ps.initializers.RandomNormal()), X),
    "Conv2D": (lambda: ps.Conv2D(4, 3), IMAGE),
}


def normalized(make, **kwargs):
    def f(x):
        with weight_norm(**kwargs):
            return make()(x)

    return ps.transform(f)


def other_values(params):
    """Parameters with all values away from the first ones."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return jax.tree.unflatten(
        tree, [x + jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


@pytest.mark.parametrize("name", MAKE)
def test_nothing_changes_at_first(name):
    make, x = MAKE[name]
    plain, model = ps.transform(lambda x: make()(x)), normalized(make)
    base, params = plain.init(KEY, x), model.init(KEY, x)
    ((module, variables),) = params.items()
    without_g = {module: {key: value for key, value in variables.items() if key != "w_g"}}
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), base, without_g))
    assert variables["w_g"].shape == variables["w"].shape[-1:]
    np.testing.assert_array_equal(model.apply(params, None, x), plain.apply(base, None, x))


def test_against_float64():
    model = normalized(lambda: ps.Linear(3))
    params = other_values(model.init(KEY, X))
    p = {key: np.asarray(value, np.float64) for key, value in params["linear"].items()}
    w = p["w_g"] * p["w"] / np.sqrt((p["w"] ** 2).sum(0))
    np.testing.assert_allclose(
        model.apply(params, None, X), np.asarray(X, np.float64) @ w + p["b"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", MAKE)
def test_against_flax(name):
    make, x = MAKE[name]
    model = normalized(make)
    params = other_values(model.init(KEY, x))
    ((_, p),) = params.items()
    layer = nn.WeightNorm(nn.Dense(3) if name == "Linear" else nn.Conv(4, (3, 3)))
    values = {
        "layer_instance": {"kernel": p["w"], "bias": p["b"]},
        "layer_instance/kernel/scale": p["w_g"],
    }
    np.testing.assert_allclose(
        layer.apply({"params": values}, x), model.apply(params, None, x), rtol=2e-5, atol=2e-5
    )


def test_gradient_is_that_of_the_paper():
    # Salimans and Kingma 2016, equation 3.
    model = normalized(lambda: ps.Linear(3, with_bias=False))
    params = other_values(model.init(KEY, X))
    grads = jax.grad(lambda p: jnp.sin(model.apply(p, None, X)).sum())(params)["linear"]
    v, g = (np.asarray(params["linear"][key], np.float64) for key in ("w", "w_g"))
    norm = np.sqrt((v**2).sum(0))
    w = g * v / norm
    x = np.asarray(X, np.float64)
    grad_w = x.T @ np.cos(x @ w)
    grad_g = (grad_w * v).sum(0) / norm
    np.testing.assert_allclose(grads["w_g"], grad_g, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        grads["w"], g / norm * grad_w - g * grad_g / norm**2 * v, rtol=1e-4, atol=1e-5
    )


def test_module_and_axes():
    v = jax.random.normal(KEY, [3, 4, 5])
    cases = [
        (-1, (5,), (0, 1)),
        (0, (3, 1, 1), (1, 2)),
        ((0, 1), (3, 4, 1), (2,)),
        ((), (1, 1, 1), (0, 1, 2)),
        (slice(1, None), (1, 4, 5), (0,)),
    ]
    for axis, shape, others in cases:
        f = ps.transform(lambda v, axis=axis: WeightNorm(axis)(v))
        params = f.init(None, v)
        assert params["weight_norm"]["g"].shape == shape
        ones = jax.tree.map(jnp.ones_like, params)
        np.testing.assert_allclose(
            jnp.sqrt(jnp.square(f.apply(ones, None, v)).sum(others)), 1, rtol=1e-5
        )


def test_weights_of_zero_have_gradients():
    model = normalized(lambda: ps.Linear(3, w_init=jnp.zeros))
    params = model.init(KEY, X)
    assert not model.apply(params, None, X).any()
    grads = jax.grad(lambda p: model.apply(p, None, X).sum())(params)
    assert np.isfinite(grads["linear"]["w"]).all()
    assert grads["linear"]["w"].any()


def test_predicate_and_g_init():
    def f(x):
        with weight_norm(
            predicate=lambda module, name, value: module == "b" and value.ndim == 2, g_init=jnp.ones
        ):
            return ps.Linear(2, name="b")(ps.Linear(3, name="a")(x))

    params = ps.transform(f).init(KEY, X)
    assert {module: sorted(variables) for module, variables in params.items()} == {
        "a": ["b", "w"],
        "b": ["b", "w", "w_g"],
    }
    assert (params["b"]["w_g"] == 1).all()


def test_bfloat16_sums_in_float32():
    x = jnp.ones([1, 1000], jnp.bfloat16)
    model = normalized(lambda: ps.Linear(1, w_init=jnp.ones))
    params = model.init(KEY, x)
    assert params["linear"]["w_g"].dtype == jnp.bfloat16
    assert abs(float(params["linear"]["w_g"][0]) - np.sqrt(1000)) < 0.2
    assert model.apply(params, None, x).dtype == jnp.bfloat16


def test_transforms():
    model = normalized(lambda: ps.Linear(3))
    params = other_values(model.init(KEY, X))
    out = model.apply(params, None, X)
    np.testing.assert_allclose(jax.jit(model.apply)(params, None, X), out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda x: model.apply(params, None, x))(X), out, rtol=1e-5, atol=1e-6
    )

    def stacked(x):
        with weight_norm():
            return ps.layer_stack(2)(lambda x: jnp.tanh(ps.Linear(6)(x)))(x)

    shapes = jax.tree.map(jnp.shape, ps.transform(stacked).init(KEY, X))
    assert [variables["w_g"] for variables in shapes.values()] == [(2, 6)]


def test_errors():
    with pytest.raises(ps.errors.FrameError):
        weight_norm()
    with pytest.raises(LayerError, match="axis"):
        normalized(lambda: ps.Linear(3), axis="last").init(KEY, X)
    with pytest.raises(LayerError, match="not in an array of 2 axes"):
        normalized(lambda: ps.Linear(3), axis=2).init(KEY, X)
    base = ps.transform(lambda x: ps.Linear(3)(x)).init(KEY, X)
    with pytest.raises(ps.errors.MissingParameterError, match="'w_g' of 'linear'"):
        normalized(lambda: ps.Linear(3)).apply(base, None, X)
