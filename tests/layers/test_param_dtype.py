"""`param_dtype`: parameters that are kept in one dtype and used in that of the input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.param_dtype import get_parameter_kept_in

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 5, 6], jnp.bfloat16)
ATTENTION = {"w_init": ps.initializers.VarianceScaling()}
LAYERS = {
    "Linear": lambda **k: lambda x: ps.Linear(3, b_init=jnp.ones, **k)(x),
    "Conv1D": lambda **k: lambda x: ps.Conv1D(3, 3, b_init=jnp.ones, **k)(x),
    "Conv2D": lambda **k: lambda x: ps.Conv2D(3, 3, b_init=jnp.ones, **k)(x[..., None]),
    "Conv3D": lambda **k: lambda x: ps.Conv3D(3, 3, b_init=jnp.ones, **k)(x[..., None, None]),
    "ConvND": lambda **k: lambda x: ps.ConvND(1, 3, 3, data_format="NCW", b_init=jnp.ones, **k)(x),
    "Conv1DTranspose": lambda **k: lambda x: ps.Conv1DTranspose(3, 3, b_init=jnp.ones, **k)(x),
    "Conv2DTranspose": lambda **k: lambda x: ps.Conv2DTranspose(3, 3, **k)(x[..., None]),
    "Conv3DTranspose": lambda **k: lambda x: ps.Conv3DTranspose(3, 3, **k)(x[..., None, None]),
    "ConvNDTranspose": lambda **k: lambda x: ps.ConvNDTranspose(1, 3, 3, **k)(x),
    "DepthwiseConv1D": lambda **k: lambda x: ps.DepthwiseConv1D(2, 3, b_init=jnp.ones, **k)(x),
    "DepthwiseConv2D": lambda **k: lambda x: ps.DepthwiseConv2D(2, 3, **k)(x[..., None]),
    "DepthwiseConv3D": lambda **k: lambda x: ps.DepthwiseConv3D(2, 3, **k)(x[..., None, None]),
    "SeparableDepthwiseConv2D": lambda **k: (
        lambda x: ps.SeparableDepthwiseConv2D(2, 3, **k)(x[..., None])
    ),
    "LayerNorm": lambda **k: lambda x: ps.LayerNorm(-1, True, True, **k)(x),
    "InstanceNorm": lambda **k: lambda x: ps.InstanceNorm(True, True, **k)(x),
    "RMSNorm": lambda **k: lambda x: ps.RMSNorm(-1, **k)(x),
    "GroupNorm": lambda **k: lambda x: ps.GroupNorm(3, **k)(x),
    "LSTM": lambda **k: lambda x: _step(ps.LSTM(3, projection_size=2, **k), x[0]),
    "GRU": lambda **k: lambda x: _step(ps.GRU(3, **k), x[0]),
    "GRU_reset_after": lambda **k: lambda x: _step(ps.GRU(3, reset_after=True, **k), x[0]),
    "VanillaRNN": lambda **k: lambda x: _step(ps.VanillaRNN(3, **k), x[0]),
    "Conv1DLSTM": lambda **k: lambda x: _step(ps.Conv1DLSTM([5], 3, 3, **k), x),
    "MultiHeadAttention": lambda **k: (
        lambda x: ps.MultiHeadAttention(2, 4, **ATTENTION, **k)(x, x, x)
    ),
}


def _step(core, x):
    return core(x, core.initial_state(x.shape[0], dtype=x.dtype))[0]


def dtypes(params):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(params)}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    plain, kept = ps.transform(LAYERS[name]()), ps.transform(LAYERS[name](param_dtype=jnp.float32))
    # Kept in float32, they get the first values that they get for an input in float32.
    params = kept.init(KEY, X)
    expected = plain.init(KEY, X.astype(jnp.float32))
    assert dtypes(params) == {"float32"}
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, expected))
    out = kept.apply(params, None, X)
    assert out.dtype == jnp.bfloat16
    # And are used as if they had been cast before.
    cast = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    np.testing.assert_array_equal(out.astype(float), plain.apply(cast, None, X).astype(float))
    grads = jax.grad(lambda p: kept.apply(p, None, X).astype(jnp.float32).sum())(params)
    assert dtypes(grads) == {"float32"}


@pytest.mark.parametrize("name", LAYERS)
def test_none_is_as_without(name):
    jaxprs = []
    for kwargs in ({}, {"param_dtype": None}):
        f = ps.transform(LAYERS[name](**kwargs))
        params = f.init(KEY, X)
        assert dtypes(params) == {"bfloat16"}
        jaxprs.append(str(jax.make_jaxpr(f.apply)(params, None, X)))
    assert jaxprs[0] == jaxprs[1]


def test_embed():
    ids = jnp.array([0, 2])
    matrix = np.arange(6.0).reshape(3, 2)
    for make in (
        lambda **k: ps.Embed(3, 2, **k),
        lambda **k: ps.Embed(embedding_matrix=matrix, **k),
    ):
        f = ps.transform(lambda make=make: make(param_dtype=jnp.bfloat16)(ids))
        params = f.init(KEY)
        assert dtypes(params) == {"bfloat16"}
        assert f.apply(params, None).dtype == jnp.bfloat16
        assert dtypes(ps.transform(lambda make=make: make()(ids)).init(KEY)) == {"float32"}


def test_weights_are_not_made_integers():
    f = ps.transform(lambda x: ps.Linear(3, param_dtype=jnp.float32)(x))
    params = f.init(KEY, X)
    counts = jnp.ones([1, 6], int)
    np.testing.assert_allclose(
        f.apply(params, None, counts), params["linear"]["w"].sum(0)[None], rtol=1e-5, atol=1e-6
    )


def test_getters_see_what_is_kept():
    seen = []

    def getter(next_getter, value, context):
        seen.append(str(value.dtype))
        return next_getter(value)

    def f():
        with ps.custom_getter(getter):
            return get_parameter_kept_in(jnp.float32, "w", [2], jnp.bfloat16, jnp.ones)

    params = ps.transform(f).init(None)
    assert seen == ["float32"]
    assert ps.transform(f).apply(params, None).dtype == jnp.bfloat16


def test_batch_norm():
    f = ps.transform_with_state(
        lambda x: ps.BatchNorm(True, True, 0.9, param_dtype=jnp.float32)(x, True)
    )
    params, state = f.init(KEY, X)
    assert dtypes(params) == {"float32"}
    assert f.apply(params, state, KEY, X)[0].dtype == jnp.bfloat16
