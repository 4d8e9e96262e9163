"""`sum_pool` and `min_pool` against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.errors import LayerError
from purestate._layers.sum_min_pool import MinPool, SumPool, min_pool, sum_pool

X = np.random.RandomState(0).standard_normal([2, 7, 6, 3]).astype(np.float32)
CASES = [
    ((1, 2, 3, 1), (1, 2, 1, 1), "VALID"),
    ((3, 3, 1), (2, 2, 1), "SAME"),
    ((2, 1), (3, 2), "SAME"),
]


def by_loop(x, window, strides, padding, reduce):
    """Reduces each window of `x` in float64, or in Python's integers."""
    window, strides = ((1,) * (x.ndim - len(v)) + v for v in (window, strides))
    if padding == "SAME":
        sizes = [-(-n // s) for n, s in zip(x.shape, strides, strict=True)]
        pads = [
            max((o - 1) * s + w - n, 0) // 2
            for o, s, w, n in zip(sizes, strides, window, x.shape, strict=True)
        ]
    else:
        sizes = [(n - w) // s + 1 for n, w, s in zip(x.shape, window, strides, strict=True)]
        pads = [0] * x.ndim
    out = np.zeros(sizes, np.float64 if x.dtype.kind == "f" else x.dtype)
    for index in np.ndindex(*sizes):
        starts = [i * s - p for i, s, p in zip(index, strides, pads, strict=True)]
        part = x[tuple(slice(max(a, 0), a + w) for a, w in zip(starts, window, strict=True))]
        out[index] = reduce(part.astype(out.dtype))
    return out


@pytest.mark.parametrize("window, strides, padding", CASES)
@pytest.mark.parametrize(
    "pool, module, reduce", [(sum_pool, SumPool, np.sum), (min_pool, MinPool, np.min)]
)
@pytest.mark.parametrize("x", [X, (X * 10).astype(np.int32)], ids=["floats", "integers"])
def test_against_loops(x, pool, module, reduce, window, strides, padding):
    out = pool(x, window, strides, padding)
    assert out.dtype == x.dtype
    np.testing.assert_allclose(
        out, by_loop(x, window, strides, padding, reduce), rtol=1e-5, atol=1e-5
    )
    f = ps.transform(lambda x: module(window, strides, padding)(x))
    assert f.init(None, x) == {}
    np.testing.assert_array_equal(f.apply({}, None, x), out)
    np.testing.assert_allclose(
        jax.jit(lambda x: pool(x, window, strides, padding))(x), out, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "uint8"])
def test_other_dtypes(dtype):
    x = jnp.arange(6).reshape(1, 6, 1).astype(dtype)
    assert min_pool(x, (2, 1), (2, 1), "SAME").ravel().tolist() == [0, 2, 4]
    assert sum_pool(x, (2, 1), (2, 1), "SAME").ravel().tolist() == [1, 5, 9]
    assert min_pool(x, (2, 1), (2, 1), "SAME").dtype == dtype


def test_one_number_takes_the_first_axis_for_the_batch():
    with pytest.warns(DeprecationWarning, match="one number"):
        out = sum_pool(X, 2, 2, "VALID")
    np.testing.assert_array_equal(out, sum_pool(X, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))


def test_gradients_and_vmap():
    def total(pool):
        return jax.grad(lambda x: (pool(x, (2, 2, 1), (2, 2, 1), "VALID") ** 2).sum())(X)

    sums = by_loop(X, (2, 2, 1), (2, 2, 1), "VALID", np.sum)
    expected = np.zeros_like(X)
    expected[:, :6] = 2 * sums.repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(total(sum_pool), expected, rtol=1e-4, atol=1e-5)
    least = (
        by_loop(X, (2, 2, 1), (2, 2, 1), "VALID", np.min)
        .repeat(2, 1)
        .repeat(2, 2)
        .astype(np.float32)
    )
    expected[:, :6] = np.where(X[:, :6] == least, 2 * least, 0)
    np.testing.assert_allclose(total(min_pool), expected, rtol=1e-5)
    rows = jax.vmap(lambda x: min_pool(x, (2, 2, 1), (2, 2, 1), "VALID"))(X)
    np.testing.assert_array_equal(rows, min_pool(X, (2, 2, 1), (2, 2, 1), "VALID"))


@pytest.mark.parametrize("pool", [sum_pool, min_pool])
def test_errors(pool):
    with pytest.raises(LayerError, match="'SAME' or 'VALID'"):
        pool(X, (2, 2, 1), (2, 2, 1), "same")
    with pytest.raises(LayerError, match="5 axes"):
        pool(X, (1,) * 5, (1,) * 5, "SAME")
