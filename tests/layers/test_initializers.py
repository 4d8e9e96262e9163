"""Initializers: the variances and distributions of their papers; errors."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


@pytest.mark.parametrize(
    "layer", [lambda: ps.Linear(2), lambda: ps.Conv1D(2, 3)], ids=["Linear", "Conv1D"]
)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_layer_of_integers(layer, dtype):
    with pytest.raises(
        ValueError, match=f"TruncatedNormal.*'(linear|conv1_d)' asks for {jnp.dtype(dtype).name}"
    ) as error:
        ps.transform(lambda x: layer()(x)).init(jax.random.key(0), jnp.ones([4, 4, 3], dtype))
    assert isinstance(error.value, ps.errors.InitializerError)


@pytest.mark.parametrize(
    "init",
    [
        ps.initializers.TruncatedNormal(),
        ps.initializers.RandomNormal(),
        ps.initializers.VarianceScaling(),
        ps.initializers.VarianceScaling(distribution="uniform"),
    ],
)
def test_integers(init):
    with pytest.raises(
        ps.errors.InitializerError, match=f"{type(init).__name__} draws floats.*int32"
    ):
        ps.transform(lambda: init([2, 3], jnp.int32)).apply({}, jax.random.key(0))
    assert (
        ps.transform(lambda: init([2, 3], jnp.bfloat16)).apply({}, jax.random.key(0)).dtype
        == jnp.bfloat16
    )


def draw(init, shape, dtype=jnp.float32):
    return np.asarray(ps.transform(lambda: init(shape, dtype)).apply({}, jax.random.key(1)))


# The fans of each shape: of matrices, and of filters [height, width, inputs, outputs].
FANS = {(200, 300): (200, 300), (3, 5, 40, 60): (15 * 40, 15 * 60), (500,): (500, 500)}


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("shape", FANS)
def test_variance_scaling(shape, mode, distribution):
    """He et al. 2015, arXiv:1502.01852, equation 10; Glorot and Bengio 2010, equation 16."""
    fans = dict(zip(("fan_in", "fan_out"), FANS[shape], strict=True))
    fans["fan_avg"] = sum(FANS[shape]) / 2
    values = draw(ps.initializers.VarianceScaling(2.0, mode, distribution), shape)
    variance = 2.0 / fans[mode]
    np.testing.assert_allclose(
        values.var(dtype=np.float64), variance, rtol=4 * np.sqrt(2 / values.size)
    )
    assert abs(values.mean(dtype=np.float64)) < 5 * np.sqrt(variance / values.size)
    if distribution == "uniform":
        assert abs(values).max() <= np.sqrt(3 * variance) * (1 + 1e-6)
    if distribution == "truncated_normal":
        assert abs(values).max() <= 2 * np.sqrt(variance) / 0.87962566 * (1 + 1e-5)


def test_distributions():
    quantiles = np.linspace(0.01, 0.99, 50)
    normal = np.array([_normal_quantile(q) for q in quantiles])
    shape = [400, 500]
    np.testing.assert_allclose(
        np.quantile(draw(ps.initializers.RandomNormal(2.0, 1.0), shape), quantiles),
        1 + 2 * normal,
        atol=0.06,
    )
    np.testing.assert_allclose(
        np.quantile(draw(ps.initializers.RandomUniform(-1.0, 3.0), shape), quantiles),
        4 * quantiles - 1,
        atol=0.02,
    )
    # Cut at two standard deviations: the quantiles of what is between them.
    inside = 0.9544997361036416
    cut = np.array([_normal_quantile(0.5 + (q - 0.5) * inside) for q in quantiles])
    np.testing.assert_allclose(
        np.quantile(draw(ps.initializers.TruncatedNormal(3.0), shape), quantiles),
        3 * cut,
        atol=0.06,
    )


def _normal_quantile(q):
    return statistics.NormalDist().inv_cdf(q)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("axis", [-1, 0])
def test_orthogonal(shape, axis):
    """Saxe et al. 2014, arXiv:1312.6120: rows or columns, whichever are fewer, are orthonormal."""
    values = np.float64(draw(ps.initializers.Orthogonal(2.0, axis), shape))
    matrix = np.moveaxis(values, axis, -1).reshape(-1, shape[axis]) / 2
    small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)


def test_uniform_scaling():
    """Sussillo and Abbott 2014: uniform, so that the variance is scale^2 / inputs."""
    values = draw(ps.initializers.UniformScaling(1.5), [300, 400])
    np.testing.assert_allclose(values.std(dtype=np.float64), 1.5 / np.sqrt(300), rtol=0.01)
    assert abs(values).max() <= 1.5 * np.sqrt(3 / 300)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (2, 3, 3)])
def test_identity_and_constant(shape):
    np.testing.assert_array_equal(
        draw(ps.initializers.Identity(2.0), shape), np.broadcast_to(2 * np.eye(*shape[-2:]), shape)
    )
    np.testing.assert_array_equal(draw(ps.initializers.Constant(2.5), shape), np.full(shape, 2.5))
    row = np.arange(float(shape[-1]))
    np.testing.assert_array_equal(
        draw(ps.initializers.Constant(row), shape), np.broadcast_to(row, shape)
    )
