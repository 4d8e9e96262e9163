"""Adaptive pooling against PyTorch's rule in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.adaptive_pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    adaptive_avg_pool,
    adaptive_max_pool,
)
from purestate._layers.errors import LayerError

X = np.random.RandomState(0).standard_normal([2, 7, 10, 3]).astype(np.float32)
POOLS = {
    "avg": (adaptive_avg_pool, AdaptiveAvgPool, np.mean),
    "max": (adaptive_max_pool, AdaptiveMaxPool, np.max),
}


def by_loop(x, sizes, reduce):
    """`[B, H, W, C]` with the windows of torch.nn.AdaptiveAvgPool2d."""
    out = np.zeros([len(x), *sizes, x.shape[-1]])
    for i, j in np.ndindex(*sizes):
        rows, columns = (
            slice(int(np.floor(k * length / n)), int(np.ceil((k + 1) * length / n)))
            for k, length, n in ((i, x.shape[1], sizes[0]), (j, x.shape[2], sizes[1]))
        )
        out[:, i, j] = reduce(x[:, rows, columns].astype(np.float64), (1, 2))
    return out


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("sizes", [(1, 1), (7, 10), (3, 5), (5, 4), (9, 13), (14, 20)])
def test_against_loops(name, sizes):
    pool, module, reduce = POOLS[name]
    expected = by_loop(X, sizes, reduce)
    np.testing.assert_allclose(pool(X, sizes), expected, rtol=1e-5, atol=1e-6)
    f = ps.transform(lambda x: module(sizes)(x))
    assert f.init(None, X) == {}
    np.testing.assert_array_equal(f.apply({}, None, X), pool(X, sizes))


@pytest.mark.slow
@pytest.mark.parametrize("name", POOLS)
def test_layouts(name):
    pool, _, _ = POOLS[name]
    expected = pool(X, (3, 4))
    np.testing.assert_allclose(
        jax.jit(lambda x: pool(x, (3, 4)))(X), expected, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(pool(X[0], (3, 4)), expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pool(X[None], (3, 4))[0], expected, rtol=1e-6, atol=1e-6)
    first = pool(X.transpose(0, 3, 1, 2), (3, 4), channel_axis=1)
    np.testing.assert_allclose(first, expected.transpose(0, 3, 1, 2), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        pool(X[..., 0], (3, 4), channel_axis=None), expected[..., 0], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(pool(X, (None, 4)), pool(X, (7, 4)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda x: pool(x, (3, 4)))(X), expected, rtol=1e-6, atol=1e-6
    )


def test_values_of_pytorch():
    # torch.nn.AdaptiveAvgPool1d(3) and AdaptiveMaxPool1d(3) of arange(8): windows 0:3, 2:6, 5:8.
    x = jnp.arange(8.0).reshape(8, 1)
    assert adaptive_avg_pool(x, [3]).ravel().tolist() == [1.0, 3.5, 6.0]
    assert adaptive_max_pool(x, [3]).ravel().tolist() == [2.0, 5.0, 7.0]


def test_gradients():
    # Each input gets one over the size of each window that it is in.
    grad = jax.grad(lambda x: adaptive_avg_pool(x, [3], None).sum())(jnp.arange(8.0))
    np.testing.assert_allclose(
        grad, [1 / 3, 1 / 3, 1 / 3 + 1 / 4, 1 / 4, 1 / 4, 1 / 4 + 1 / 3, 1 / 3, 1 / 3], rtol=1e-6
    )
    grad = jax.grad(lambda x: adaptive_max_pool(x, [3], None).sum())(jnp.arange(8.0))
    np.testing.assert_allclose(grad, [0, 0, 1, 0, 0, 1, 0, 1])


def test_integers_and_bfloat16():
    x = (X * 10).astype(np.int32)
    out = adaptive_max_pool(x, (3, 4))
    assert out.dtype == np.int32
    np.testing.assert_array_equal(out, by_loop(x, (3, 4), np.max))
    half = adaptive_avg_pool(jnp.asarray(X, jnp.bfloat16), (3, 4))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(float), by_loop(X, (3, 4), np.mean), atol=0.03)


@pytest.mark.parametrize("sizes, channel_axis, match", [
    (7, -1, "such as"),
    ((0, 1), -1, "such as"),
    ((1, 1, 1, 1), -1, "as many spatial axes"),
    ((1, 1), 4, "channel_axis=4"),
])  # fmt: skip
def test_errors(sizes, channel_axis, match):
    with pytest.raises(LayerError, match=match):
        adaptive_avg_pool(X, sizes, channel_axis)
    with pytest.raises(LayerError, match="at least one value"):
        adaptive_max_pool(X[:, :0], (1, 1))
