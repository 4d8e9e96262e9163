import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate.sonnet as snt
from purestate._sonnet.scale_gradient import scale_gradient

X = jnp.array([1.0, -2.0, jnp.inf])


@pytest.mark.parametrize("scale", [0.0, 1.0, -0.5, jnp.array([1.0, 2.0, 3.0])])
def test_the_value_stays_and_the_gradient_is_scaled(scale):
    y, pullback = jax.vjp(lambda x: scale_gradient(x, scale), X)
    np.testing.assert_array_equal(y, X)
    dy = jnp.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(pullback(dy)[0], scale * dy)
    np.testing.assert_array_equal(
        jax.jvp(lambda x: scale_gradient(x, scale), (X,), (dy,))[1], scale * dy
    )
    np.testing.assert_array_equal(jax.jit(jax.vmap(scale_gradient, (0, None)))(X, 2.0), X)


def test_the_scale_gets_no_gradient():
    assert jax.grad(lambda s: jnp.sum(scale_gradient(X[:2], s) ** 2))(3.0) == 0.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64", "int32"])
def test_dtypes_stay(dtype):
    x = jnp.ones([2], dtype)
    assert scale_gradient(x, 0.5).dtype == x.dtype
    if jnp.issubdtype(x.dtype, jnp.inexact):
        _, pullback = jax.vjp(lambda x: scale_gradient(x, 0.5), x)
        assert pullback(x)[0].dtype == x.dtype


def test_second_derivatives_and_variables():
    f = lambda x: scale_gradient(x, 0.5) ** 3
    np.testing.assert_allclose(jax.grad(jax.grad(f))(2.0), 0.25 * 6 * 2.0)
    assert scale_gradient(snt.Variable(2.0, name="v"), 0.5) == 2.0


def test_integers_within_a_gradient():
    f = lambda x: jnp.sum(x * scale_gradient(jnp.array([1, 2]), 0.5))
    assert jax.grad(f)(jnp.ones(2)).tolist() == [1.0, 2.0]
