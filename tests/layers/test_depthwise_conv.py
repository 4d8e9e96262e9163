import jax
import numpy as np
import pytest

import purestate as ps
from tests.layers.conv_reference import apply_with, convolution, same_padding

DRAW = np.random.RandomState(0)


@pytest.mark.parametrize("name", ["DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D"])
@pytest.mark.parametrize(("multiplier", "stride", "rate"), [(1, 1, 1), (2, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("padding", ["SAME", "valid"])
@pytest.mark.parametrize("first", [False, True])
def test_against_loops(name, multiplier, stride, rate, padding, first):
    n = int(name[-2])
    sizes = (6, 5, 5)[:n]
    x = DRAW.standard_normal((2, *sizes, 3))
    pairs = [same_padding(size, 2, stride, rate) if padding == "SAME" else (0, 0) for size in sizes]
    data_format = "channels_first" if first else "channels_last"
    w, b = (
        DRAW.standard_normal((2,) * n + (1, 3 * multiplier)),
        DRAW.standard_normal(3 * multiplier),
    )
    out = apply_with(
        lambda: getattr(ps, name)(multiplier, 2, stride, rate, padding, data_format=data_format),
        np.moveaxis(x, -1, 1) if first else x,
        w=w,
        b=b.reshape((-1,) + (1,) * n) if first else b,
    )
    expected = convolution(x, w, (stride,) * n, (rate,) * n, pairs, groups=3) + b
    np.testing.assert_allclose(
        np.moveaxis(out, 1, -1) if first else out, expected, rtol=1e-12, atol=1e-12
    )


def test_separable_is_a_convolution_with_an_outer_product():
    x, b = DRAW.standard_normal((2, 6, 5, 3)), DRAW.standard_normal(6)
    down, across = DRAW.standard_normal((3, 1, 1, 6)), DRAW.standard_normal((1, 2, 1, 6))
    f = ps.transform(
        lambda x: ps.SeparableDepthwiseConv2D(2, (3, 2), padding="VALID", name="layer")(x)
    )
    params = {
        "layer/~/depthwise_conv2_d": {"w": down},
        "layer/~/depthwise_conv2_d_1": {"w": across, "b": b},
    }
    with jax.enable_x64(True):
        out = f.apply(params, None, x)
    # Channel c of the result is channel c // 2 of the input, down with down[c] and then across.
    expected = convolution(
        x, (down * across).reshape(3, 2, 1, 6), (1, 1), (1, 1), [(0, 0)] * 2, groups=3
    )
    np.testing.assert_allclose(out, expected + b, rtol=1e-12, atol=1e-12)


def test_padding_functions_and_no_batch():
    x, w, b = DRAW.standard_normal((7, 2)), DRAW.standard_normal((3, 1, 2)), np.arange(2.0)
    out = apply_with(lambda: ps.DepthwiseConv1D(1, 3, rate=2, padding=ps.pad.causal), x, w=w, b=b)
    expected = convolution(x[None], w, (1,), (2,), [(4, 0)], groups=2)[0] + b
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_wrong_rank():
    with pytest.raises(ValueError, match=r"depthwise_conv2_d.*\(4, 3\)") as error:
        apply_with(lambda: ps.DepthwiseConv2D(1, 3), np.ones([4, 3]))
    assert isinstance(error.value, ps.errors.PurestateError)
