import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.conv_reference import convolution, same_padding

DRAW = np.random.RandomState(0)


def run(make, x):
    """The output of a layer in float64 and its parameters."""
    with jax.enable_x64(True):
        f = ps.transform(lambda x: make()(x))
        x = jnp.asarray(x, jnp.float64)
        params = f.init(jax.random.key(0), x)
        own = list(params.values())
        return np.asarray(f.apply(params, None, x)), [{k: np.asarray(v) for k, v in p.items()} for p in own]


@pytest.mark.parametrize("name", ["DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D"])
@pytest.mark.parametrize(("multiplier", "stride", "rate"), [(1, 1, 1), (2, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("padding", ["SAME", "valid"])
@pytest.mark.parametrize("first", [False, True])
def test_against_loops(name, multiplier, stride, rate, padding, first):
    n = int(name[-2])
    sizes = (6, 5, 5)[:n]
    x = DRAW.standard_normal((2, *sizes, 3))
    pairs = [same_padding(size, 2, stride, rate) if padding == "SAME" else (0, 0) for size in sizes]
    data_format = ("NCDHW" if first else "NDHWC")[: n + 2] if first else "channels_last"
    out, [params] = run(
        lambda: getattr(ps, name)(
            multiplier, 2, stride, rate, padding, b_init=ps.initializers.RandomNormal(), data_format=data_format
        ),
        np.moveaxis(x, -1, 1) if first else x,
    )
    expected = convolution(x, params["w"], (stride,) * n, (rate,) * n, pairs, groups=3) + params["b"].ravel()
    np.testing.assert_allclose(np.moveaxis(out, 1, -1) if first else out, expected, rtol=1e-12, atol=1e-12)
    assert params["w"].shape == (2,) * n + (1, 3 * multiplier)


def test_separable_is_a_convolution_with_an_outer_product():
    x = DRAW.standard_normal((2, 6, 5, 3))
    out, [down, across] = run(lambda: ps.SeparableDepthwiseConv2D(2, (3, 2), padding="VALID"), x)
    # Channel c of the result is channel c // 2 of the input, down with w[c] and then across.
    kernel = (down["w"] * across["w"]).reshape(3, 2, 1, 6)
    expected = convolution(x, kernel, (1, 1), (1, 1), [(0, 0)] * 2, groups=3)
    np.testing.assert_allclose(out, expected + across["b"], rtol=1e-12, atol=1e-12)


def test_padding_functions_and_no_batch():
    x = DRAW.standard_normal((7, 2))
    out, [params] = run(lambda: ps.DepthwiseConv1D(1, 3, rate=2, padding=ps.pad.causal), x)
    expected = convolution(x[None], params["w"], (1,), (2,), [(4, 0)], groups=2)[0]
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_wrong_rank():
    with pytest.raises(ValueError, match=r"depthwise_conv2_d.*\(4, 3\)") as error:
        run(lambda: ps.DepthwiseConv2D(1, 3), np.ones([4, 3]))
    assert isinstance(error.value, ps.errors.PurestateError)
