"""`PReLU` against PyTorch's formula in float64, its gradients written out, and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = np.asarray(jax.random.normal(jax.random.key(1), [2, 5, 4, 3]))


def reference(x, slope):
    """`max(0, x) + slope * min(0, x)`, the formula on the page of `torch.nn.PReLU`."""
    x, slope = np.asarray(x, np.float64), np.asarray(slope, np.float64)
    return np.maximum(0, x) + slope * np.minimum(0, x)


@pytest.mark.parametrize(
    "param_axis, shape",
    [(None, ()), (-1, (3,)), (1, (1, 5, 1, 1)), ((1, -1), (1, 5, 1, 3)), (slice(1, None), None)],
    ids=str,
)
def test_against_float64(param_axis, shape):
    f = ps.transform(lambda x: ps.PReLU(param_axis=param_axis)(x))
    slope = f.init(None, X)["prelu"]["slope"]
    assert slope.shape == (shape if shape is not None else (1, 5, 4, 3))
    assert (slope == 0.25).all()
    slope = jax.random.normal(jax.random.key(2), slope.shape)
    params = {"prelu": {"slope": slope}}
    np.testing.assert_allclose(f.apply(params, None, X), reference(X, slope), rtol=1e-6)


def test_gradients():
    """He et al., equations 3 and 4: the slope gets the sum of the negative inputs of its channel."""
    f = ps.transform(lambda x: ps.PReLU(param_axis=-1)(x))
    slope = jnp.array([-0.5, 0.25, 2.0])
    weight = jax.random.normal(jax.random.key(3), X.shape)

    def loss(slope, x):
        return (f.apply({"prelu": {"slope": slope}}, None, x) * weight).sum()

    by_slope, by_x = jax.grad(loss, (0, 1))(slope, X)
    w, x = np.asarray(weight, np.float64), np.asarray(X, np.float64)
    expected = (w * np.where(x > 0, 0, x)).sum((0, 1, 2))
    np.testing.assert_allclose(by_slope, expected, rtol=1e-5)
    np.testing.assert_allclose(by_x, w * np.where(x > 0, 1, np.asarray(slope)), rtol=1e-5)


def test_same_as_flax():
    theirs = nn.PReLU()
    variables = theirs.init(jax.random.key(0), X)
    slope = variables["params"]["negative_slope"]
    f = ps.transform(lambda x: ps.PReLU()(x))
    ours = f.apply({"prelu": {"slope": slope}}, None, X)
    np.testing.assert_array_equal(ours, theirs.apply(variables, X))


def test_options():
    f = ps.transform(
        lambda x: ps.PReLU(
            ps.initializers.Constant(0.1), "slopes", param_axis=-1, param_dtype=jnp.float32
        )(x)
    )
    x = jnp.asarray([[-8.0, 8.0]], jnp.bfloat16)
    params = f.init(None, x)
    assert params["slopes"]["slope"].dtype == jnp.float32
    out = f.apply(params, None, x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(float), [[-0.8, 8.0]], rtol=0.01)


@pytest.mark.parametrize(
    "x, options, message",
    [
        (np.ones([2, 3], np.int32), {}, "needs floats, got int32"),
        (3.0, {}, "needs an array"),
        (X, {"param_axis": 4}, "not in an array of 4 axes"),
        (X, {"param_axis": "C"}, "PReLU: param_axis has to be an int"),
    ],
    ids=["integers", "number", "axis", "no axis"],
)
def test_errors(x, options, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.transform(lambda: ps.PReLU(**options)(x)).init(None)
