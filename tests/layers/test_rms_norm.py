import flax.linen as nn
import jax
import numpy as np
import pytest

import purestate as ps

X = np.random.RandomState(0).standard_normal((2, 3, 4)).astype(np.float32) * 3 + 1


def apply(make, x, **params):
    f = ps.transform(lambda x: make()(x))
    (name,) = jax.eval_shape(f.init, None, x) or ("none",)
    return f.apply({name: params}, None, x)


@pytest.mark.parametrize("axis", [-1, (0, 1), slice(1, None)])
def test_as_in_flax(axis):
    scale = np.arange(4, dtype=np.float32)
    out = apply(lambda: ps.RMSNorm(axis, eps=1e-3), X, scale=scale)
    axes = (1, 2) if isinstance(axis, slice) else axis
    expected = nn.RMSNorm(1e-3, reduction_axes=axes, feature_axes=-1).apply(
        {"params": {"scale": scale}}, X
    )
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_root_mean_square_is_one_without_scale():
    out = np.asarray(apply(lambda: ps.RMSNorm((1, 2), eps=0.0, create_scale=False), X), np.float64)
    np.testing.assert_allclose(np.sqrt((out**2).mean((1, 2))), 1.0, rtol=1e-6)


def test_parameters_along_other_axes():
    scale = np.arange(3, dtype=np.float32).reshape(1, 3, 1)
    plain = apply(lambda: ps.RMSNorm(-1, create_scale=False), X)
    np.testing.assert_allclose(
        apply(lambda: ps.RMSNorm(-1, param_axis=1), X, scale=scale), plain * scale, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ps.RMSNorm(1.0), "RMSNorm: axis"),
        (lambda: ps.RMSNorm(-1, param_axis="C"), "RMSNorm: param_axis"),
        (lambda: ps.RMSNorm(3), "3 axes"),
        (lambda: ps.RMSNorm(-1, scale_init=np.ones, create_scale=False), "create_scale=False"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says) as error:
        apply(make, X)
    assert isinstance(error.value, ps.errors.PurestateError)
