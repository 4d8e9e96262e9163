"""`Scaler` against float64, and against the last step of a `LayerNorm`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = np.asarray(jax.random.normal(jax.random.key(1), [2, 5, 3]))


@pytest.mark.parametrize(
    "param_axis, shape", [(-1, (3,)), ((), ()), (1, (1, 5, 1)), ((-2, -1), (1, 5, 3))], ids=str
)
@pytest.mark.parametrize("create_offset", [False, True])
def test_against_float64(param_axis, shape, create_offset):
    f = ps.transform(lambda x: ps.Scaler(create_offset, param_axis=param_axis)(x))
    made = f.init(None, X)["scaler"]
    assert jax.tree.map(jnp.shape, made) == {
        "scale": shape,
        **({"offset": shape} if create_offset else {}),
    }
    np.testing.assert_array_equal(f.apply({"scaler": made}, None, X), X)  # at first nothing changes
    params = {
        name: jax.random.normal(jax.random.key(len(name)), value.shape)
        for name, value in made.items()
    }
    scale, offset = (np.asarray(params.get(name, 0), np.float64) for name in ("scale", "offset"))
    np.testing.assert_allclose(
        f.apply({"scaler": params}, None, X),
        np.asarray(X, np.float64) * scale + offset,
        rtol=1e-5,
        atol=1e-6,
    )


def test_it_is_what_a_norm_does_last():
    norm = ps.transform(lambda x: ps.LayerNorm(-1, True, True)(x))
    parts = ps.transform(lambda x: ps.Scaler(True)(ps.LayerNorm(-1, False, False)(x)))
    values = {"scale": jnp.arange(1.0, 4), "offset": jnp.arange(3.0)}
    np.testing.assert_allclose(
        parts.apply({"scaler": values}, None, X),
        norm.apply({"layer_norm": values}, None, X),
        rtol=1e-5,
        atol=1e-6,
    )


def test_options():
    f = ps.transform(
        lambda x: ps.Scaler(
            True, ps.initializers.Constant(1e-4), jnp.ones, "gain", param_dtype=jnp.float32
        )(x)
    )
    x = jnp.ones([2, 3], jnp.bfloat16)
    params = f.init(None, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(params["gain"]["scale"], 1e-4)
    np.testing.assert_array_equal(params["gain"]["offset"], 1)
    assert f.apply(params, None, x).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "x, options, message",
    [
        (X, {"offset_init": jnp.ones}, "create_offset=False makes no offset"),
        (X, {"param_axis": 3}, "not in an array of 3 axes"),
        (X, {"param_axis": "C"}, "Scaler: param_axis has to be an int"),
        ([1.0], {}, "needs an array"),
    ],
    ids=["offset_init", "axis", "no axis", "list"],
)
def test_errors(x, options, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.transform(lambda: ps.Scaler(**options)(x)).init(None)
