"""`GatedMLP` against the equations of the paper, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import purestate as ps
from purestate._layers.gated_mlp import GatedMLP

X = jax.random.normal(jax.random.key(1), [2, 3, 4])
NUMPY = {
    jax.nn.silu: lambda x: x * special.expit(x),
    jax.nn.sigmoid: special.expit,
    jax.nn.relu: lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("activation", NUMPY, ids=["silu", "sigmoid", "relu"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("output_size", [None, 7])
def test_against_float64(activation, with_bias, output_size):
    b_init = ps.initializers.RandomNormal() if with_bias else None
    f = ps.transform(lambda x: GatedMLP(5, output_size, activation, with_bias, b_init=b_init)(x))
    params = f.init(jax.random.key(0), X)
    assert all(("b" in variables) == with_bias for variables in params.values())

    def linear(name, x):
        p = {
            key: np.asarray(value, np.float64) for key, value in params[f"gated_mlp/{name}"].items()
        }
        return x @ p["w"] + p.get("b", 0)

    x = np.asarray(X, np.float64)
    expected = linear("down", NUMPY[activation](linear("gate", x)) * linear("up", x))
    out = f.apply(params, None, X)
    assert out.shape[-1] == (output_size or 4)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, X), out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda x: f.apply(params, None, x))(X), out, rtol=1e-5, atol=1e-6
    )


def test_w_init_and_param_dtype():
    x = X.astype(jnp.bfloat16)
    f = ps.transform(
        lambda x: GatedMLP(5, w_init=jnp.ones, with_bias=True, param_dtype=jnp.float32)(x)
    )
    params = f.init(None, x)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert all((variables["w"] == 1).all() for variables in params.values())
    out = f.apply(params, None, x)
    assert out.dtype == jnp.bfloat16
    total = np.asarray(x, np.float64).sum(-1)
    np.testing.assert_allclose(
        out[..., 0].astype(float), 5 * total**2 * special.expit(total), rtol=0.05, atol=0.05
    )
