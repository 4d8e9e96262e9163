"""`nets.MLP` as a loop in float64, with its options."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal

X = normal(4, 5)


@pytest.mark.parametrize("activate_final", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh])
def test_loop_in_float64(activation, with_bias, activate_final):
    def f(x):
        return ps.nets.MLP(
            [6, 3, 2],
            ps.initializers.RandomNormal(),
            ps.initializers.RandomNormal() if with_bias else None,
            with_bias,
            activation,
            activate_final,
        )(x)

    g = ps.transform(f)
    params = g.init(jax.random.key(0), X)
    assert [params[name]["w"].shape for name in params] == [(5, 6), (6, 3), (3, 2)]
    expected = np.float64(X)
    for i in range(3):
        own = params[f"mlp/~/linear_{i}"]
        assert ("b" in own) is with_bias
        expected = expected @ np.float64(own["w"]) + np.float64(own.get("b", 0))
        if i < 2 or activate_final:
            expected = np.tanh(expected) if activation is jnp.tanh else np.maximum(expected, 0)
    np.testing.assert_allclose(g.apply(params, None, X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lib", [ps, hk], ids=["purestate", "dm-haiku"])
def test_reverse_has_the_sizes_backwards(lib):
    def f(x):
        mlp = lib.nets.MLP([6, 3], name="encoder")
        codes = mlp(x)
        return mlp.reverse()(codes)

    params = lib.transform(f).init(jax.random.key(0), X)
    assert {name: own["w"].shape for name, own in params.items()} == {
        "encoder/~/linear_0": (5, 6),
        "encoder/~/linear_1": (6, 3),
        "encoder/~reverse/encoder_reversed/~/linear_0": (3, 6),
        "encoder/~reverse/encoder_reversed/~/linear_1": (6, 5),
    }
