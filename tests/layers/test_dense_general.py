"""`DenseGeneral` against `numpy.einsum` in float64, `Linear` and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.dense_general import DenseGeneral
from purestate._layers.errors import LayerError

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 3, 4, 5])  # abcd
# features, axis, batch_axes, equation of the weight, equation of the bias (with ones for axes between)
CASES = [
    (6, -1, (), "abcd,dx->abcx", ()),
    ((6, 7), -1, (), "abcd,dxy->abcxy", ()),
    (6, (-2, -1), (), "abcd,cdx->abx", ()),
    (6, (3, 1), (), "abcd,dbx->acx", ()),
    ((6, 7), (1, 2), (), "abcd,bcxy->adxy", ()),
    (6, -1, 0, "abcd,adx->abcx", (0,)),
    (6, -1, 1, "abcd,bdx->abcx", (1,)),
    (6, 1, (0, 2), "abcd,acbx->acdx", (0, 1)),
    (6, 0, (3, 1), "abcd,dbax->bcdx", (2, 0)),
    ((), (0, 1, 2, 3), (), "abcd,abcd->", ()),
]


def random_params(f, *inputs):
    """Values for the parameters of `f`, with no time spent on making the first ones."""
    draw = np.random.RandomState(0)
    shapes = jax.eval_shape(f.init, KEY, *inputs)
    return jax.tree.map(lambda p: jnp.asarray(draw.standard_normal(p.shape), p.dtype), shapes)


@pytest.mark.parametrize("features, axis, batch_axes, equation, batch_of_output", CASES)
def test_against_float64(features, axis, batch_axes, equation, batch_of_output):
    f = ps.transform(lambda x: DenseGeneral(features, axis, batch_axes)(x))
    params = random_params(f, X)
    w, b = (np.asarray(params["dense_general"][name], np.float64) for name in ("w", "b"))
    out = np.asarray(np.einsum(equation, np.asarray(X, np.float64), w))
    num_features = b.ndim - len(batch_of_output)
    for index in np.ndindex(*b.shape[: len(batch_of_output)]):  # every batch has a bias of its own
        where = [slice(None)] * (out.ndim - num_features)
        for place, i in zip(batch_of_output, index, strict=True):
            where[place] = i
        out[tuple(where)] += b[index]
    np.testing.assert_allclose(f.apply(params, None, X), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "features, axis, batch_axes", [(6, -1, ()), ((6, 7), (-2, -1), ()), (6, (-1,), (0, 1))]
)
def test_against_flax(features, axis, batch_axes):
    f = ps.transform(lambda x: DenseGeneral(features, axis, batch_axes)(x))
    p = random_params(f, X)["dense_general"]
    theirs = nn.DenseGeneral(features, axis=axis, batch_dims=batch_axes)
    shapes = jax.eval_shape(theirs.init, KEY, X)["params"]
    assert (shapes["kernel"].shape, shapes["bias"].shape) == (p["w"].shape, p["b"].shape)
    expected = theirs.apply({"params": {"kernel": p["w"], "bias": p["b"]}}, X)
    np.testing.assert_allclose(
        f.apply({"dense_general": p}, None, X), expected, rtol=1e-5, atol=1e-4
    )


def test_for_the_last_axis_it_is_linear():
    ours, linear = (
        ps.transform(lambda x, layer=layer: layer(6, name="layer")(x))
        for layer in (DenseGeneral, ps.Linear)
    )
    params = linear.init(KEY, X)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, ours.init(KEY, X)))
    np.testing.assert_array_equal(ours.apply(params, None, X), linear.apply(params, None, X))


def test_first_values_keep_the_scale():
    x = jax.random.normal(KEY, [64, 20, 30])
    f = ps.transform(lambda x: DenseGeneral(200, (-2, -1))(x))
    out = f.apply(f.init(KEY, x), None, x)
    np.testing.assert_allclose(
        out.std(), 0.88, atol=0.05
    )  # a normal distribution cut off at 2 has 0.88 of its stddev


def test_param_dtype_and_integers():
    f = ps.transform(lambda x: DenseGeneral(6, param_dtype=jnp.float32)(x))
    params = f.init(KEY, X.astype(jnp.bfloat16))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert f.apply(params, None, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    counts = jnp.ones([2, 5], int)
    np.testing.assert_allclose(
        f.apply(params, None, counts)[0], params["dense_general"]["w"].sum(0), rtol=1e-5, atol=1e-6
    )


def test_transforms():
    f = ps.transform(lambda x: DenseGeneral(6, (1, 3), 2)(x))
    params = random_params(f, X)
    g = ps.transform(lambda x: DenseGeneral(6, (0, 2), 1)(x))
    rows = jax.vmap(lambda x: g.apply(params, None, x))(X)
    np.testing.assert_allclose(rows, f.apply(params, None, X), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, X), rows, rtol=1e-5, atol=1e-4)
    grads = jax.grad(lambda p: f.apply(p, None, X).sum())(params)["dense_general"]
    expected = np.broadcast_to(np.einsum("abcd->cbd", X)[..., None], grads["w"].shape)
    np.testing.assert_allclose(grads["w"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grads["b"], np.full([4, 6], 2.0))


@pytest.mark.parametrize("axis, batch_axes", [(4, ()), (-5, ()), ((1, -3), ()), (1, 1), ((), ())])
def test_errors(axis, batch_axes):
    with pytest.raises(LayerError, match="DenseGeneral 'dense_general'"):
        ps.transform(lambda x: DenseGeneral(6, axis, batch_axes)(x)).init(KEY, X)
