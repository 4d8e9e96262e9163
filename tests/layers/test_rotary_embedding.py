"""`rotary_embedding`: complex numbers in float64, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._layers.errors import LayerError
from purestate._layers.rotary_embedding import (
    rotary_embedding,
    rotary_frequencies,
    yarn_scale,
)

X = jax.random.normal(jax.random.key(0), [2, 7, 3, 8])  # [B, T, H, K]


def turned(x, positions, base, interleaved):
    """Each pair as a complex number, times e^(i angle)."""
    x = np.asarray(x, np.float64)
    size = x.shape[-1]
    pairs = (
        x[..., 0::2] + 1j * x[..., 1::2]
        if interleaved
        else x[..., : size // 2] + 1j * x[..., size // 2 :]
    )
    positions = np.broadcast_to(np.asarray(positions, np.float64), x.shape[:-2])
    for i in range(size // 2):
        pairs[..., i] *= np.exp(1j * positions / base ** (2 * i / size))[..., None]
    if not interleaved:
        return np.concatenate([pairs.real, pairs.imag], -1)
    return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("base", [10000, 500.0])
@pytest.mark.parametrize(
    "positions", [np.arange(7), np.arange(14).reshape(2, 7) * 3, np.arange(2)[:, None]]
)
def test_against_complex_numbers(positions, base, interleaved):
    out = rotary_embedding(X, jnp.asarray(positions), base, interleaved=interleaved)
    np.testing.assert_allclose(out, turned(X, positions, base, interleaved), rtol=1e-4, atol=1e-5)


def test_frequencies_of_a_base_are_those_without():
    out = rotary_embedding(X, jnp.arange(7), 500.0)
    given = rotary_embedding(X, jnp.arange(7), frequencies=rotary_frequencies(8, 500.0))
    np.testing.assert_array_equal(out, given)


def test_interpolated_positions():
    # Chen et al. 2023, equation 3: position m of the longer sequence is m / factor.
    slower = rotary_embedding(X, jnp.arange(7), frequencies=rotary_frequencies(8, factor=4.0))
    np.testing.assert_allclose(slower, rotary_embedding(X, jnp.arange(7) / 4), rtol=1e-6, atol=1e-6)


def test_frequencies_of_llama_3():
    # By wavelengths, in positions: short ones stay, long ones are slowed down, with a ramp between.
    base, factor, low, high, length = 500000.0, 8.0, 1.0, 4.0, 8192
    expected = []
    for i in range(64):
        frequency = base ** (-i / 64)
        wavelength = 2 * np.pi / frequency
        if wavelength < length / high:
            expected.append(frequency)
        elif wavelength > length / low:
            expected.append(frequency / factor)
        else:
            part = (length / wavelength - low) / (high - low)
            expected.append((1 - part) * frequency / factor + part * frequency)
    found = rotary_frequencies(128, base, factor=factor, original_length=length)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len({round(a * base ** (i / 64), 6) for i, a in enumerate(expected)}) > 3


def test_frequencies_of_ntk():
    # Peng et al. 2023, section 3.1: b' = b * s ** (|D| / (|D| - 2)), theta_d = b' ** (-2d / |D|).
    size, base, s = 16, 10000.0, 8.0
    changed = base * s ** (size / (size - 2))
    expected = [changed ** (-2 * d / size) for d in range(size // 2)]
    found = rotary_frequencies(size, base, factor=s, scaling="ntk")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    plain = rotary_frequencies(size, base)
    np.testing.assert_allclose(found[0], plain[0], rtol=1e-12)  # as before
    np.testing.assert_allclose(found[-1], plain[-1] / s, rtol=1e-12)  # interpolated


@pytest.mark.parametrize("betas", [{}, {"low_freq_factor": 2.0, "high_freq_factor": 8.0}])
def test_frequencies_of_yarn(betas):
    # Peng et al. 2023, section 3.2: r(d) = L / lambda_d, the ramp gamma, and h(theta_d).
    size, base, s, length = 128, 10000.0, 16.0, 4096
    alpha, beta = betas.get("low_freq_factor", 1.0), betas.get("high_freq_factor", 32.0)
    expected = []
    for d in range(size // 2):
        theta = base ** (-2 * d / size)
        turns = length / (2 * np.pi / theta)
        gamma = 0.0 if turns < alpha else 1.0 if turns > beta else (turns - alpha) / (beta - alpha)
        expected.append((1 - gamma) * theta / s + gamma * theta)
    found = rotary_frequencies(
        size, base, factor=s, original_length=length, scaling="yarn", **betas
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    ratios = found / rotary_frequencies(size, base)
    assert ratios[0] == 1
    np.testing.assert_allclose(ratios[-1], 1 / s, rtol=1e-12)
    assert len(set(ratios.round(6))) > 5


def test_the_temperature_of_yarn():
    # sqrt(1 / t) = 0.1 ln(s) + 1, and the softmax is that of q k / (t sqrt(|D|)).
    for s in (1.0, 4.0, 32.0):
        t = (1 / (0.1 * np.log(s) + 1)) ** 2
        np.testing.assert_allclose(yarn_scale(64, s), 1 / (t * 8), rtol=1e-12)
    for size, s in ((0, 2.0), (64, 0.5)):
        with pytest.raises(LayerError, match="yarn_scale needs"):
            yarn_scale(size, s)


@pytest.mark.parametrize("scaling, options", [
    (None, {}), ("linear", {}), ("llama3", {"original_length": 500}), (None, {"original_length": 500}),
])  # fmt: skip
def test_names_of_scaling(scaling, options):
    found = rotary_frequencies(8, factor=4.0, scaling=scaling, **options)
    by_default = rotary_frequencies(8, factor=4.0, **options)
    np.testing.assert_array_equal(found, by_default)


@pytest.mark.parametrize("options, match", [
    ({"scaling": "dynamic"}, "'dynamic'"),
    ({"scaling": "yarn"}, "need original_length"),
    ({"scaling": "linear", "original_length": 500}, "no use for it"),
    ({"scaling": "ntk", "original_length": 500}, "no use for it"),
    ({"scaling": "ntk", "size": 2}, "size=2"),
])  # fmt: skip
def test_scaling_that_does_not_fit(options, match):
    with pytest.raises(LayerError, match=match):
        rotary_frequencies(**{"size": 8, "factor": 2.0, **options})


@pytest.mark.parametrize(
    "options", [{"size": 7}, {"factor": 0}, {"original_length": 9, "high_freq_factor": 1}]
)
def test_frequencies_that_cannot_be(options):
    with pytest.raises(LayerError, match="even size"):
        rotary_frequencies(**{"size": 8, **options})


@pytest.mark.parametrize("options", [{"low_freq_factor": 1.0}, {"high_freq_factor": 4.0}])
def test_options_that_need_the_original_length(options):
    with pytest.raises(LayerError, match="Pass that too"):
        rotary_frequencies(8, factor=2.0, **options)


def test_a_base_beside_frequencies():
    with pytest.raises(LayerError, match="base=10000.0 has no effect"):
        rotary_embedding(X, jnp.arange(7), 10000.0, frequencies=rotary_frequencies(8))


@pytest.mark.parametrize("shape", [(), (8,), (4, 1)])
def test_frequencies_of_a_wrong_shape(shape):
    with pytest.raises(LayerError, match=r"\[K / 2\], here \(4,\)"):
        rotary_embedding(X, jnp.arange(7), frequencies=jnp.ones(shape))


def test_matrix_of_the_paper():
    # Su et al. 2021, equation 15, at position m.
    m, size = 3, 4
    matrix = np.zeros([size, size])
    for i in range(size // 2):
        angle = m / 10000 ** (2 * i / size)
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [
            [np.cos(angle), -np.sin(angle)],
            [np.sin(angle), np.cos(angle)],
        ]
    x = np.array([0.3, -1.0, 2.0, 0.7])
    out = rotary_embedding(
        jnp.asarray(x, jnp.float32)[None, None], jnp.array([m]), interleaved=True
    )
    np.testing.assert_allclose(out[0, 0], matrix @ x, rtol=1e-5)


@pytest.mark.parametrize("interleaved", [True, False])
def test_only_the_distance_counts(interleaved):
    query, key = X[:, :1], X[:, 1:2]

    def product(i, j):
        a, b = (
            rotary_embedding(x, jnp.array([p]), interleaved=interleaved)
            for x, p in ((query, i), (key, j))
        )
        return (a * b).sum(-1)

    np.testing.assert_allclose(product(3, 1), product(43, 41), rtol=1e-3, atol=1e-4)
    assert not np.allclose(product(3, 1), product(3, 2), atol=1e-3)


def test_dtype_and_transforms():
    positions = jnp.arange(7)
    half = rotary_embedding(X.astype(jnp.bfloat16), positions + 1000)
    assert half.dtype == jnp.bfloat16
    # Angles are float32: at position 1006 those in bfloat16 would be off by up to 4.
    np.testing.assert_allclose(
        half.astype(float), turned(X, positions + 1000, 10000, False), atol=0.05
    )
    out = rotary_embedding(X, positions)
    np.testing.assert_allclose(jax.jit(rotary_embedding)(X, positions), out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(rotary_embedding, (0, None))(X, positions), out, rtol=1e-5, atol=1e-6
    )
    # A rotation keeps lengths, and so does its gradient.
    grad = jax.grad(lambda x: (rotary_embedding(x, positions) ** 2).sum() / 2)(X)
    np.testing.assert_allclose(grad, X, rtol=1e-4, atol=1e-5)


def test_with_strict_ranks():
    with jax.numpy_rank_promotion("raise"):
        assert rotary_embedding(X, jnp.arange(7)).shape == X.shape


@pytest.mark.parametrize("x, positions", [
    (X[..., :7], np.arange(7)),
    (X[0, 0], np.arange(3)),
    (X.astype(int), np.arange(7)),
    (X, np.arange(6)),
    (X, np.zeros([3, 7])),
    (X, 1),
    (X, np.zeros([1, 2, 7])),
])  # fmt: skip
def test_errors(x, positions):
    with pytest.raises(LayerError, match="rotary_embedding"):
        rotary_embedding(x, jnp.asarray(positions))
