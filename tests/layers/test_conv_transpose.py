import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.conv_reference import apply_with, transposed_convolution

DRAW = np.random.RandomState(0)


@pytest.mark.parametrize(
    ("sizes", "kernel", "stride"),
    [
        ((5,), (3,), (1,)),
        ((5,), (3,), (2,)),
        ((4,), (4,), (3,)),
        ((4,), (2,), (3,)),
        ((4,), (1,), (2,)),
        ((3, 4), (3, 2), (2, 1)),
        ((2, 3, 2), (2, 3, 1), (2, 2, 1)),
    ],
)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_against_loops(sizes, kernel, stride, padding):
    x = DRAW.standard_normal((2, *sizes, 3))
    n = len(sizes)
    overlap = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
    if padding == "SAME":  # what the kernel reaches over is cut off, half in front
        size = [i * s for i, s in zip(sizes, stride, strict=True)]
        front = [o // 2 for o in overlap]
    else:
        size = [i * s + o for i, s, o in zip(sizes, stride, overlap, strict=True)]
        front = [0] * n
    w, b = DRAW.standard_normal((*kernel, 4, 3)), DRAW.standard_normal(4)
    out = apply_with(lambda: ps.ConvNDTranspose(n, 4, kernel, stride, padding=padding), x, w=w, b=b)
    np.testing.assert_allclose(
        out, transposed_convolution(x, w, stride, front, size) + b, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (2, 2)])
def test_output_shape_is_undone_by_the_convolution(size, padding, kernel, stride):
    """It is the gradient of a convolution with the flipped kernel, for each size that this makes the inputs of."""
    with jax.enable_x64(True):
        conv = ps.transform(
            lambda y: ps.Conv1D(3, kernel, stride, padding=padding, with_bias=False)(y)
        )
        y = jnp.asarray(DRAW.standard_normal((2, size, 4)))
        w = jnp.asarray(DRAW.standard_normal((kernel, 4, 3)))
        x, vjp = jax.vjp(lambda y: conv.apply({"conv1_d": {"w": w}}, None, y), y)
        transposed = ps.transform(
            lambda x: ps.Conv1DTranspose(
                4, kernel, stride, size, padding, with_bias=False, name="t"
            )(x)
        )
        out = transposed.apply({"t": {"w": w[::-1]}}, None, x)
        assert out.shape == y.shape
        np.testing.assert_allclose(out, vjp(x)[0], rtol=1e-12, atol=1e-12)


def test_pairs_pad_the_inputs_with_the_zeros_between_them():
    x, w = DRAW.standard_normal((1, 4, 2)), DRAW.standard_normal((3, 3, 2))
    out = apply_with(
        lambda: ps.Conv1DTranspose(3, 3, stride=2, padding=[(1, 2)], with_bias=False), x, w=w
    )
    # 7 inputs with the zeros between them, 3 of padding, kernel 3.
    np.testing.assert_allclose(
        out, transposed_convolution(x, w, (2,), (1,), (8,)), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("shape", [None, (5, 8)])
def test_channels_first_is_the_same_with_axes_moved(shape):
    x, w, b = DRAW.standard_normal((2, 3, 4, 3)), DRAW.standard_normal((3, 3, 5, 3)), np.arange(5.0)
    last = apply_with(lambda: ps.Conv2DTranspose(5, 3, 2, shape), x, w=w, b=b)
    first = apply_with(
        lambda: ps.Conv2DTranspose(5, 3, 2, shape, data_format="NCHW"),
        np.moveaxis(x, -1, 1),
        w=w,
        b=b.reshape(5, 1, 1),
    )
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-12, atol=1e-12)


def test_without_a_batch_and_with_a_mask():
    x, w, mask = (
        DRAW.standard_normal((5, 2)),
        DRAW.standard_normal((3, 4, 2)),
        DRAW.randint(0, 2, (3, 4, 2)),
    )
    out = apply_with(lambda: ps.Conv1DTranspose(4, 3, with_bias=False, mask=mask), x, w=w)
    np.testing.assert_allclose(
        out, transposed_convolution(x[None], w * mask, (1,), (1,), (5,))[0], rtol=1e-12, atol=1e-12
    )


def test_stddev_of_the_weights_is_that_of_the_fan_in():
    f = ps.transform(lambda x: ps.Conv2DTranspose(200, (3, 5))(x))
    w = f.init(jax.random.key(0), np.ones([1, 5, 5, 8], np.float32))["conv2_d_transpose"]["w"]
    np.testing.assert_allclose(w.std() * np.sqrt(3 * 5 * 8) / 0.8796, 1.0, rtol=0.02)


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: ps.ConvNDTranspose(0, 1, 1), (1, 1), "num_spatial_dims=0"),
        (lambda: ps.Conv1DTranspose(1, 3, padding="FULL"), (4, 1), "FULL"),
        (lambda: ps.Conv1DTranspose(1, 3, padding=ps.pad.same), (4, 1), "Conv1DTranspose.*pair"),
        (
            lambda: ps.Conv1DTranspose(1, 3, output_shape=4, padding=[(1, 1)]),
            (4, 1),
            "output_shape",
        ),
        (
            lambda: ps.Conv1DTranspose(1, 3, 2, output_shape=9),
            (4, 1),
            "conv1_d_transpose.*5.*got 4",
        ),
        (lambda: ps.Conv1DTranspose(1, 3, 2, 8, "VALID"), (4, 1), "conv1_d_transpose.*3.*got 4"),
        (lambda: ps.Conv2DTranspose(1, 3), (4, 1), "conv2_d_transpose.*shape"),
        (lambda: ps.Conv1DTranspose(1, 3, mask=np.ones([3, 1, 2])), (4, 1), "mask"),
    ],
)
def test_errors(make, shape, says):
    with pytest.raises(ValueError, match=says) as error:
        apply_with(make, np.ones(shape))
    assert isinstance(error.value, ps.errors.PurestateError)
