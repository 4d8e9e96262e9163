import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = np.random.RandomState(0).standard_normal((2, 3, 4, 5)).astype(np.float32) * 3 + 1


def apply(make, x, *args, **params):
    """The output of a layer, with these parameters."""
    f = ps.transform(lambda x, *args: make()(x, *args))
    (name,) = jax.eval_shape(f.init, None, x, *args) or ("none",)
    return f.apply({name: params}, None, x, *args)


@pytest.mark.parametrize("axis", [-1, (1, 2), (0, -1), slice(1, None)])
@pytest.mark.parametrize("fast", [False, True])
def test_layer_norm_as_in_flax(axis, fast):
    scale, offset = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    out = apply(
        lambda: ps.LayerNorm(axis, True, True, 1e-3, use_fast_variance=fast),
        X,
        scale=scale,
        offset=offset,
    )
    axes = (1, 2, 3) if isinstance(axis, slice) else axis
    theirs = nn.LayerNorm(1e-3, reduction_axes=axes, feature_axes=-1, use_fast_variance=fast)
    expected = theirs.apply({"params": {"scale": scale, "bias": offset}}, X)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_parameters_along_other_axes():
    scale = np.arange(15, dtype=np.float32).reshape(1, 3, 1, 5)
    out = apply(lambda: ps.LayerNorm(-1, True, False, param_axis=(-1, 1)), X, scale=scale)
    plain = apply(lambda: ps.LayerNorm(-1, False, False), X)
    np.testing.assert_allclose(out, plain * scale, rtol=1e-6)


def test_scale_and_offset_when_called():
    scale, offset = np.arange(5, dtype=np.float32), np.ones([3, 1, 1], np.float32)
    out = apply(lambda: ps.LayerNorm(-1, False, False), X, scale, offset)
    plain = apply(lambda: ps.LayerNorm(-1, False, False), X)
    np.testing.assert_allclose(out, plain * scale + offset, rtol=1e-6, atol=1e-6)


def test_works_where_ranks_are_not_promoted():
    scale = offset = np.ones(5, np.float32)
    with jax.numpy_rank_promotion("raise"):
        apply(lambda: ps.LayerNorm(-1, True, True), X, scale=scale, offset=offset)
        apply(lambda: ps.LayerNorm(-1, False, False), X, scale, offset)
        apply(lambda: ps.RMSNorm(-1), X, scale=scale)
        apply(lambda: ps.GroupNorm(5), X, scale=scale, offset=offset)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_instance_norm_as_in_flax(data_format):
    scale, offset = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    first = data_format == "NCHW"
    shape = (1, 5, 1, 1) if first else (5,)
    out = apply(
        lambda: ps.InstanceNorm(True, True, 1e-3, data_format=data_format),
        np.moveaxis(X, -1, 1) if first else X,
        scale=scale.reshape(shape),
        offset=offset.reshape(shape),
    )
    expected = nn.InstanceNorm(epsilon=1e-3).apply({"params": {"scale": scale, "bias": offset}}, X)
    np.testing.assert_allclose(
        np.moveaxis(out, 1, -1) if first else out, expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("axis", [1.0, "spatial", [1, 2.0], None])
def test_axis_that_is_none(axis):
    with pytest.raises(ValueError, match="LayerNorm: axis"):
        apply(lambda: ps.LayerNorm(axis, True, True), X)


@pytest.mark.parametrize(
    ("make", "args", "says"),
    [
        (lambda: ps.LayerNorm(-1, False, True, scale_init=jnp.ones), (), "create_scale=False"),
        (lambda: ps.LayerNorm(-1, True, False, offset_init=jnp.ones), (), "create_offset=False"),
        (lambda: ps.LayerNorm(-1, True, False), (np.ones(5),), "layer_norm.*scale"),
        (lambda: ps.InstanceNorm(False, True), (None, np.ones(5)), "instance_norm.*offset"),
        (
            lambda: ps.LayerNorm(4, True, False),
            (),
            "'layer_norm': .*4 axes",
        ),  # dm-haiku would take axis 0
        (lambda: ps.LayerNorm(1, True, False, param_axis=-5), (), "4 axes"),
    ],
)
def test_errors(make, args, says):
    with pytest.raises(ValueError, match=says) as error:
        apply(make, X, *args)
    assert isinstance(error.value, ps.errors.PurestateError)
