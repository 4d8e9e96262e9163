"""`ConvLocalND` against loops in float64, `ConvND` and flax."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
OPTIONS = {
    "plain": {},
    "valid": {"padding": "VALID"},
    "lower": {"padding": "SAME_LOWER", "stride": 2},
    "stride": {"stride": (2, 3)},
    "rate": {"rate": (2, 1), "padding": "VALID"},
    "pairs": {"padding": [(1, 2), (0, 3)]},
    "causal": {"padding": ps.pad.causal, "rate": 2},
    "all": {"stride": (1, 2), "rate": (2, 1), "padding": [(2, 0), (1, 1)], "with_bias": False},
}


def values(shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape)


def padding_of(layer, sizes):
    """(before, after) of each axis, by the formulas of TensorFlow."""
    if not isinstance(layer.padding, str):
        return list(layer.padding)
    if layer.padding == "VALID":
        return [(0, 0)] * len(sizes)
    pairs = []
    for size, kernel, stride, rate in zip(
        sizes, layer.kernel_shape, layer.stride, layer.rate, strict=True
    ):
        total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * rate + 1 - size)
        pairs.append((total // 2, total - total // 2))
    return [pair[::-1] if layer.padding == "SAME_LOWER" else pair for pair in pairs]


def by_loops(layer, x, w, b):
    """Channels are last. Each output by itself: a window of the padded input, and its own kernel."""
    n = layer.num_spatial_dims
    x = np.pad(x, [(0, 0), *padding_of(layer, x.shape[1:-1]), (0, 0)])
    extents = [(k - 1) * r + 1 for k, r in zip(layer.kernel_shape, layer.rate, strict=True)]
    positions = [
        (size - extent) // stride + 1
        for size, extent, stride in zip(x.shape[1:-1], extents, layer.stride, strict=True)
    ]
    out = np.zeros([len(x), *positions, layer.output_channels])
    for place in itertools.product(*map(range, positions)):
        window = x[
            (
                slice(None),
                *(
                    slice(i * stride, i * stride + extent, rate)
                    for i, stride, extent, rate in zip(
                        place, layer.stride, extents, layer.rate, strict=True
                    )
                ),
            )
        ]
        out[(slice(None), *place)] = np.tensordot(window, w[place], n + 1) + b[place]
    return out


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_against_float64(options, data_format):
    layers = []

    def f(x):
        layers.append(ps.ConvLocal2D(4, (3, 2), data_format=data_format, **options))
        return layers[-1](x)

    g, x = ps.transform(f), values([2, 7, 6, 3])
    given = jnp.asarray(x if data_format == "NHWC" else np.moveaxis(x, -1, 1), jnp.float32)
    shapes = jax.eval_shape(g.init, KEY, given)["conv_local2_d"]
    assert ("b" in shapes) == options.get("with_bias", True)
    params = {name: values(leaf.shape, len(name)) for name, leaf in shapes.items()}
    b = params.get("b", np.zeros([*params.get("w").shape[:2], 4]))
    expected = by_loops(layers[-1], x, params["w"], b)
    found = g.apply({"conv_local2_d": jax.tree.map(jnp.float32, params)}, None, given)
    if data_format == "NCHW":
        found = np.moveaxis(found, 1, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: ps.ConvLocal1D(4, 3, stride=2), [2, 7, 3]),
        (lambda: ps.ConvLocal3D(4, 2, padding="VALID"), [2, 3, 4, 3, 2]),
        (lambda: ps.ConvLocalND(2, 4, 3), [2, 4, 4, 2]),
    ],
    ids=["1D", "3D", "ND"],
)
def test_other_ranks_against_float64(make, shape):
    g, x = ps.transform(lambda x: make()(x)), values(shape)
    layers = []
    ps.transform(lambda: layers.append(make())).init(None)
    ((name, shapes),) = jax.eval_shape(g.init, KEY, jnp.float32(x)).items()
    params = {key: values(leaf.shape, len(key)) for key, leaf in shapes.items()}
    found = g.apply({name: jax.tree.map(jnp.float32, params)}, None, jnp.float32(x))
    expected = by_loops(layers[0], x, params["w"], params["b"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_with_one_kernel_for_all_positions_it_is_a_convolution(options):
    x = jnp.float32(values([2, 7, 6, 3]))
    conv, local = (
        ps.transform(lambda x, layer=layer: layer(4, (3, 2), name="conv", **options)(x))
        for layer in (ps.Conv2D, ps.ConvLocal2D)
    )
    params = conv.init(KEY, x)
    shapes = jax.eval_shape(local.init, KEY, x)
    repeated = jax.tree.map(lambda p, s: jnp.broadcast_to(p, s.shape), params, shapes)
    for found, expected in (
        (local.apply(repeated, None, x), conv.apply(params, None, x)),
        *zip(  # the gradient of the one kernel is the sum of those of all
            jax.tree.leaves(
                jax.tree.map(
                    lambda g: g.sum((0, 1)),
                    jax.grad(lambda p: (local.apply(p, None, x) ** 2).sum())(repeated),
                )
            ),
            jax.tree.leaves(jax.grad(lambda p: (conv.apply(p, None, x) ** 2).sum())(params)),
            strict=True,
        ),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_same_as_flax(padding):
    x = jnp.float32(values([2, 7, 6, 3]))
    theirs = nn.ConvLocal(4, (3, 2), strides=(1, 2), kernel_dilation=(2, 1), padding=padding)
    shapes = jax.eval_shape(theirs.init, KEY, x)["params"]
    kernel, bias = (jnp.float32(values(shapes[name].shape)) for name in ("kernel", "bias"))
    f = ps.transform(lambda x: ps.ConvLocal2D(4, (3, 2), (1, 2), (2, 1), padding)(x))
    # Theirs has the channels before the kernel, and one axis for both.
    apart = kernel.reshape(*kernel.shape[:2], 3, 3, 2, 4)
    params = {"conv_local2_d": {"w": jnp.moveaxis(apart, 2, 4), "b": bias}}
    expected = theirs.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    np.testing.assert_allclose(f.apply(params, None, x), expected, rtol=1e-4, atol=1e-4)


def test_initial_values_have_the_scale_of_a_convolution():
    x = jnp.zeros([1, 8, 8, 16])

    def w_of(layer, **options):
        f = ps.transform(lambda x: layer(32, 3, name="conv", **options)(x))
        return np.asarray(f.init(KEY, x)["conv"]["w"])

    he = ps.initializers.VarianceScaling(2.0)
    for options in ({}, {"w_init": he}, {"w_init": jax.nn.initializers.he_normal()}):
        conv, local = w_of(ps.Conv2D, **options), w_of(ps.ConvLocal2D, **options)
        assert local.shape == (8, 8, *conv.shape)
        np.testing.assert_allclose(local.std(), conv.std(), rtol=0.05)
        assert not np.array_equal(local[0, 0], local[0, 1])  # each has values of its own
    assert (w_of(ps.ConvLocal2D, w_init=jnp.ones) == 1).all()


def test_zeros_need_no_key():
    f = ps.transform(lambda x: ps.ConvLocal1D(2, 3, w_init=jnp.zeros)(x))
    assert not f.init(None, jnp.ones([1, 5, 2]))["conv_local1_d"]["w"].any()


def test_without_a_batch_and_param_dtype():
    x = jnp.ones([5, 4, 2], jnp.bfloat16)
    f = ps.transform(lambda x: ps.ConvLocal2D(3, 2, param_dtype=jnp.float32)(x))
    params = f.init(KEY, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    out = f.apply(params, None, x)
    assert (out.shape, out.dtype) == ((5, 4, 3), jnp.bfloat16)
    np.testing.assert_array_equal(out, f.apply(params, None, x[None])[0])


def test_it_takes_images_of_one_size():
    f = ps.transform(lambda x: ps.ConvLocal2D(3, 2)(x))
    params = f.init(KEY, jnp.ones([1, 5, 4, 2]))
    with pytest.raises(ps.errors.ShapeMismatchError):
        f.apply(params, None, jnp.ones([1, 6, 4, 2]))


@pytest.mark.parametrize(
    "make, shape, message",
    [
        (lambda: ps.ConvLocalND(0, 3, 2), [2, 5, 5, 2], "at least one spatial axis"),
        (lambda: ps.ConvLocal2D(3, 0), [2, 5, 5, 2], "`kernel_shape` has to be at least 1"),
        (lambda: ps.ConvLocal2D(3, 2, padding="FULL"), [2, 5, 5, 2], "padding has to be"),
        (lambda: ps.ConvLocal2D(3, 2), [5, 5], "needs an input of 4 axes"),
        (lambda: ps.ConvLocal2D(3, 6, padding="VALID"), [2, 5, 5, 2], "has no output"),
    ],
    ids=["axes", "kernel", "padding", "rank", "too large"],
)
def test_errors(make, shape, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.transform(lambda x: make()(x)).init(KEY, jnp.ones(shape))
