import flax.linen as nn
import jax
import numpy as np
import pytest

import purestate as ps

X = np.random.RandomState(0).standard_normal((2, 3, 4, 6)).astype(np.float32) * 3 + 1


def apply(make, x, *args, **params):
    f = ps.transform(lambda x, *args: make()(x, *args))
    (name,) = jax.eval_shape(f.init, None, x, *args) or ("none",)
    return f.apply({name: params}, None, x, *args)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("first", [False, True])
def test_as_in_flax(groups, first):
    scale, offset = np.arange(6, dtype=np.float32), np.ones(6, np.float32)
    shape = (6, 1, 1) if first else (6,)
    out = apply(
        lambda: ps.GroupNorm(groups, eps=1e-3, data_format="NCHW" if first else "NHWC"),
        np.moveaxis(X, -1, 1) if first else X,
        scale=scale.reshape(shape),
        offset=offset.reshape(shape),
    )
    expected = nn.GroupNorm(groups, epsilon=1e-3).apply(
        {"params": {"scale": scale, "bias": offset}}, X
    )
    np.testing.assert_allclose(
        np.moveaxis(out, 1, -1) if first else out, expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("axis", [(1, 2), (0, 3), 3, -1, slice(0, 2)])
def test_axes(axis):
    out = apply(lambda: ps.GroupNorm(2, axis, False, False, eps=0.0), X)
    grouped = X.astype(np.float64).reshape(2, 3, 4, 2, 3)
    axes = (
        {(0, 3): (0, 4), 3: (4,), -1: (4,), (1, 2): (1, 2)}.get(axis, (0, 1))
        if axis != slice(0, 2)
        else (0, 1)
    )
    centered = grouped - grouped.mean(axes, keepdims=True)
    expected = centered / np.sqrt((centered**2).mean(axes, keepdims=True))
    np.testing.assert_allclose(out, expected.reshape(X.shape), rtol=1e-5, atol=1e-5)


def test_sizes_may_change_from_call_to_call():
    """In dm-haiku the second call gives an array of another shape, with the examples mixed up."""

    def both(x, y):
        layer = ps.GroupNorm(2, create_scale=False, create_offset=False)
        return layer(x), layer(y)

    y = np.concatenate([X, X + 1, X * 2], axis=1)
    _, second = ps.transform(both).apply({}, None, X, y)
    np.testing.assert_array_equal(
        second, apply(lambda: ps.GroupNorm(2, slice(1, None), False, False), y)
    )


def test_rank_may_not_change():
    def both(x):
        layer = ps.GroupNorm(2)
        return layer(x), layer(x[0])

    with pytest.raises(ValueError, match="group_norm.*4 axes.*3"):
        ps.transform(both).init(None, X)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ps.GroupNorm(4), "6 channels.*groups=4"),
        (lambda: ps.GroupNorm(0), "6 channels.*groups=0"),
        (lambda: ps.GroupNorm(2, axis="all"), "axis"),
        (lambda: ps.GroupNorm(2, axis=4), "4 axes"),
        (lambda: ps.GroupNorm(2, axis=(-2, -1)), r"Count from the front: \(2, 3\)"),
        (lambda: ps.GroupNorm(3, axis=-1, data_format="NCHW"), r"Count from the front: \(3,\)"),
        (lambda: ps.GroupNorm(2, create_scale=False, scale_init=np.ones), "create_scale=False"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says) as error:
        apply(make, X)
    assert isinstance(error.value, ps.errors.PurestateError)


@pytest.mark.parametrize("name", ["scale", "offset"])
def test_two_of_them(name):
    def f(x):
        return ps.GroupNorm(2)(x, **{name: np.ones(6)})

    with pytest.raises(ValueError, match=f"group_norm.*{name}"):
        ps.transform(f).init(None, X)
