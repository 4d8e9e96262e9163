import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("num_dims", [1, 2, 3])
def test_leading_axes_are_one_inside(num_dims):
    seen = []

    def f(x, *, y):
        seen.append((x.shape, y.shape))
        return {"sum": x + y, "mean": x.mean(tuple(range(1, x.ndim)))}

    out = ps.BatchApply(f, num_dims)(X, y=X * 2)
    merged = (int(np.prod(X.shape[:num_dims])), *X.shape[num_dims:])
    assert seen == [(merged, merged)]
    np.testing.assert_array_equal(out["sum"], X * 3)
    np.testing.assert_array_equal(out["mean"], X.mean(tuple(range(num_dims, 3))))


def test_smaller_inputs_and_none_pass():
    def f(x, bias, factor, nothing):
        assert nothing is None
        assert bias.shape == (4,)
        return x * factor + bias

    out = ps.BatchApply(f)(X, np.arange(4.0), 2.0, None)
    np.testing.assert_array_equal(out, X * 2 + np.arange(4.0))


def test_numpy_stays_numpy():
    assert isinstance(ps.BatchApply(lambda x: x)(X), np.ndarray)
    assert not isinstance(ps.BatchApply(lambda x: x)(jnp.asarray(X)), np.ndarray)


def test_axes_of_one_may_broadcast():
    out = ps.BatchApply(lambda x, y: x + y)(X[:, :1], np.ones([1, 1, 4]))
    np.testing.assert_array_equal(out, X[:, :1] + 1)


def test_nothing_to_merge():
    with pytest.raises(ValueError, match=r"2 leading axes.*\[\(4,\), \(\)\]"):
        ps.BatchApply(lambda x, y: x)(np.ones(4), 1.0)


def test_examples_that_would_be_mixed_up():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        ps.BatchApply(lambda x, y: x + y)(X, X.swapaxes(0, 1))


@pytest.mark.parametrize("axis", [0, -1])
def test_expand_apply(axis):
    def f(x, *, y):
        assert x.shape == ((1, 4) if axis == 0 else (4, 1))
        assert y.shape == (1,)
        return [x + y]

    out = ps.expand_apply(f, axis)(X[0, 0], y=1.0)
    np.testing.assert_array_equal(out[0], X[0, 0] + 1)


def test_expand_apply_elsewhere():
    with pytest.raises(ValueError, match="0 or -1, got 1"):
        ps.expand_apply(lambda x: x, axis=1)
