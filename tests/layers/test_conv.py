import jax
import numpy as np
import pytest

import purestate as ps
from tests.layers.conv_reference import apply_with, convolution, same_padding

DRAW = np.random.RandomState(0)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "rate", "groups"),
    [
        ((9, 4), (3,), (1,), (1,), 1),
        ((9, 4), (4,), (2,), (1,), 2),
        ((10, 4), (2,), (1,), (3,), 4),
        ((6, 7, 3), (3, 2), (1, 2), (1, 1), 1),
        ((6, 7, 4), (3, 2), (2, 2), (1, 1), 2),
        ((7, 6, 2), (2, 3), (1, 1), (2, 1), 1),
        ((4, 3, 5, 2), (2, 1, 3), (1, 1, 2), (1, 1, 1), 1),
    ],
)
@pytest.mark.parametrize("padding", ["SAME", "VALID", "pairs", "full"])
def test_against_loops(shape, kernel, stride, rate, groups, padding):
    n = len(kernel)
    x = DRAW.standard_normal((2, *shape))
    pairs = {
        "SAME": [same_padding(*sizes) for sizes in zip(shape, kernel, stride, rate, strict=False)],
        "VALID": [(0, 0)] * n,
        "pairs": [(1, i) for i in range(n)],
        "full": [((k - 1) * r,) * 2 for k, r in zip(kernel, rate, strict=True)],
    }[padding]
    argument = {"pairs": pairs, "full": ps.pad.full}.get(padding, padding)
    w, b = DRAW.standard_normal((*kernel, shape[-1] // groups, 4)), DRAW.standard_normal(4)
    out = apply_with(
        lambda: ps.ConvND(n, 4, kernel, stride, rate, argument, feature_group_count=groups),
        x,
        w=w,
        b=b,
    )
    np.testing.assert_allclose(
        out, convolution(x, w, stride, rate, pairs, groups) + b, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", ["Conv1D", "Conv2D", "Conv3D"])
def test_channels_first_is_the_same_with_axes_moved(name):
    n = int(name[4])
    x, w, b = (
        DRAW.standard_normal((2, *range(4, 4 + n), 3)),
        DRAW.standard_normal((3,) * n + (3, 5)),
        np.arange(5.0),
    )
    layer = getattr(ps, name)
    last = apply_with(lambda: layer(5, 3), x, w=w, b=b)
    first = apply_with(
        lambda: layer(5, 3, data_format="NCDHW"[: n + 2]),
        np.moveaxis(x, -1, 1),
        w=w,
        b=b.reshape((5,) + (1,) * n),
    )
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-12, atol=1e-12)


def test_without_a_batch():
    x, w, b = DRAW.standard_normal((7, 6, 3)), DRAW.standard_normal((3, 3, 3, 4)), np.arange(4.0)
    without, with_batch = (
        apply_with(lambda: ps.Conv2D(4, 3), each, w=w, b=b) for each in (x, x[None])
    )
    np.testing.assert_array_equal(without, with_batch[0])


def test_mask():
    x, w, mask = (
        DRAW.standard_normal((1, 5, 2)),
        DRAW.standard_normal((3, 2, 4)),
        DRAW.randint(0, 2, (3, 2, 4)),
    )
    out = apply_with(lambda: ps.Conv1D(4, 3, padding="VALID", with_bias=False, mask=mask), x, w=w)
    np.testing.assert_allclose(
        out, convolution(x, w * mask, (1,), (1,), [(0, 0)]), rtol=1e-12, atol=1e-12
    )


def test_stddev_of_the_weights_is_that_of_the_fan_in():
    f = ps.transform(lambda x: ps.Conv2D(200, (3, 5))(x))
    w = f.init(jax.random.key(0), np.ones([1, 5, 5, 8], np.float32))["conv2_d"]["w"]
    # A normal distribution cut at two standard deviations has 0.8796 of its standard deviation.
    np.testing.assert_allclose(w.std() * np.sqrt(3 * 5 * 8) / 0.8796, 1.0, rtol=0.02)


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: ps.ConvND(0, 1, 1), (1, 1), "num_spatial_dims=0"),
        (lambda: ps.Conv2D(1, 1), (4, 3), r"conv2_d.*\(4, 3\)"),
        (lambda: ps.Conv2D(4, 1, feature_group_count=2), (4, 4, 3), "conv2_d.*3 input channels"),
        (
            lambda: ps.Conv2D(4, 1, mask=np.ones([1, 1, 3, 2])),
            (4, 4, 3),
            r"\(1, 1, 3, 4\).*\(1, 1, 3, 2\)",
        ),
        (lambda: ps.Conv2D(4, 1, data_format="HWX"), (4, 4, 3), "HWX"),
        (lambda: ps.Conv2D(4, 1, feature_group_count=3), (4, 4, 3), "conv2_d.*output_channels=4"),
        (lambda: ps.Conv2D(4, 1, padding="CAUSAL"), (4, 4, 3), "conv2_d.*got 'CAUSAL'"),
        (
            lambda: ps.DepthwiseConv2D(1, 1, padding="CAUSAL"),
            (4, 4, 3),
            "depthwise_conv2_d.*got 'CAUSAL'",
        ),
    ],
)
def test_errors(make, shape, says):
    with pytest.raises(ValueError, match=says) as error:
        apply_with(make, np.ones(shape))
    assert isinstance(error.value, ps.errors.PurestateError)


def test_padding_of_one_number():
    with pytest.raises(ps.errors.AxesError, match=r"got 1: write \(1, 1\)"):
        apply_with(lambda: ps.Conv2D(4, 1, padding=1), np.ones([4, 4, 3]))


def test_same_lower_pads_before():
    x, w = DRAW.standard_normal((1, 5, 2)), DRAW.standard_normal((2, 2, 4))
    out = apply_with(lambda: ps.Conv1D(4, 2, padding="same_lower", with_bias=False), x, w=w)
    np.testing.assert_allclose(out, convolution(x, w, (1,), (1,), [(1, 0)]), rtol=1e-12, atol=1e-12)
