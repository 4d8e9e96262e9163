"""`Einsum` against `numpy.einsum` in float64, and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.einsum import Einsum
from purestate._layers.errors import LayerError

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 3, 4])
CASES = [
    ("btd,dhk->bthk", (4, 5, 6), (5, 6)),
    ("btd,dhk->bthk", (4, 5, 6), (5, 1)),
    ("btd,dhk->bhtk", (4, 5, 6), (5, 1, 6)),
    ("btd,td->bt", (3, 4), (3,)),
    ("...d,dk->...k", (4, 5), None),
    ("btd, bdk -> btk", (2, 4, 5), ()),
]


def random_params(f, *inputs):
    """Values for the parameters of `f`, with no time spent on making the first ones."""
    draw = np.random.RandomState(0)
    shapes = jax.eval_shape(f.init, KEY, *inputs)
    return jax.tree.map(lambda p: jnp.asarray(draw.standard_normal(p.shape), p.dtype), shapes)


@pytest.mark.parametrize("equation, shape, bias_shape", CASES)
def test_against_float64(equation, shape, bias_shape):
    f = ps.transform(lambda x: Einsum(equation, shape, bias_shape)(x))
    params = random_params(f, X)
    p = {name: np.asarray(value, np.float64) for name, value in params["einsum"].items()}
    assert p["w"].shape == shape
    assert ("b" in p) == (bias_shape is not None)
    expected = np.einsum(equation, np.asarray(X, np.float64), p["w"]) + p.get("b", 0)
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-4, atol=1e-5)


def test_against_flax():
    f = ps.transform(lambda x: Einsum("btd,dhk->bthk", (4, 5, 6), (5, 6))(x))
    p = random_params(f, X)["einsum"]
    theirs = nn.Einsum((4, 5, 6), "btd,dhk->bthk")
    expected = theirs.apply({"params": {"kernel": p["w"], "bias": p["b"]}}, X)
    np.testing.assert_allclose(f.apply({"einsum": p}, None, X), expected, rtol=1e-5, atol=1e-5)


def test_inputs_of_the_default_initializer():
    # 20 * 30 weights are summed, whatever their order; the 7 of `e` are not.
    f = ps.transform(lambda x: Einsum("ebkd,dnke->ebn", (30, 50, 20, 7))(x))
    x = jax.random.normal(KEY, [7, 9, 20, 30])
    params = f.init(KEY, x)
    np.testing.assert_allclose(params["einsum"]["w"].std() * np.sqrt(600), 0.88, atol=0.01)
    np.testing.assert_allclose(f.apply(params, None, x).std(), 0.88, atol=0.05)


def test_param_dtype_and_vmap():
    f = ps.transform(lambda x: Einsum("...d,dk->...k", (4, 5), (5,), param_dtype=jnp.float32)(x))
    params = f.init(KEY, X.astype(jnp.bfloat16))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert f.apply(params, None, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    rows = jax.vmap(lambda x: f.apply(params, None, x))(X)
    np.testing.assert_allclose(rows, f.apply(params, None, X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, X), rows, rtol=1e-5, atol=1e-6)
    grads = jax.grad(lambda p: f.apply(p, None, X).sum())(params)["einsum"]
    np.testing.assert_allclose(
        grads["w"], np.broadcast_to(X.sum((0, 1))[:, None], (4, 5)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("equation, shape, bias_shape, match", [
    ("btd->bt", (4,), None, "'input,weight->output'"),
    ("btd,dk", (4, 5), None, "'input,weight->output'"),
    ("btd,dk,k->bt", (4, 5), None, "'input,weight->output'"),
    ("btd,...k->btk", (4, 5), None, "'input,weight->output'"),
    ("btd,dk->btk", (4, 5, 6), None, "has 3"),
    ("btd,dk->btk", (7, 5), None, "do not fit"),
    ("btd,dk->btk", (4, 5), (4,), "the bias"),
    ("btd,dk->btk", (4, 5), (1, 1, 1, 5), "the bias"),
])  # fmt: skip
def test_errors(equation, shape, bias_shape, match):
    with pytest.raises(LayerError, match=f"Einsum 'einsum'.*{match}"):
        ps.transform(lambda x: Einsum(equation, shape, bias_shape)(x)).init(KEY, X)
