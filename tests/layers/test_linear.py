"""`Linear` and `Bias` in float64; the bits of `jax.numpy`; errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import assert_same, normal

SHAPES = [(5,), (2, 5), (2, 3, 5), (0, 5)]


def make(with_bias=True, precision=None):
    init = ps.initializers.RandomNormal()
    return ps.transform(
        lambda x: ps.Linear(4, with_bias, w_init=init, b_init=init)(x, precision=precision)
    )


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_float64(shape, with_bias):
    f, x = make(with_bias), normal(*shape)
    params = f.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == {
        "linear": {"w": (5, 4), **({"b": (4,)} if with_bias else {})}
    }
    weight = normal(*shape[:-1], 4, seed=1)
    loss = lambda params, x: (f.apply(params, None, x) * weight).sum()
    out, (by_params, by_x) = f.apply(params, None, x), jax.grad(loss, (0, 1))(params, x)

    x64, up = np.float64(x).reshape(-1, 5), np.float64(weight).reshape(-1, 4)
    w, b = np.float64(params["linear"]["w"]), np.float64(params["linear"].get("b", 0))
    np.testing.assert_allclose(out.reshape(-1, 4), x64 @ w + b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_x.reshape(-1, 5), up @ w.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_params["linear"]["w"], x64.T @ up, rtol=1e-5, atol=1e-6)
    if with_bias:
        np.testing.assert_allclose(by_params["linear"]["b"], up.sum(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_round_as_those_of_jax_numpy(dtype):
    """Eagerly too, where JAX 0.12 compiles the gradient of `jnp.dot` as one, and that of an equation not."""
    f, x = ps.transform(lambda x: ps.Linear(16)(x)), normal(2, 7, dtype=dtype)
    params = f.init(jax.random.key(0), x)

    def by_hand(params, rng, x):
        return jnp.dot(x, params["linear"]["w"]) + params["linear"]["b"]

    for wrap in (lambda f: f, jax.jit):
        grads = [
            wrap(
                jax.grad(lambda p, x, f=f: jnp.sin(f(p, None, x).astype(jnp.float32)).sum(), (0, 1))
            )(params, x)
            for f in (f.apply, by_hand)
        ]
        assert_same(*grads)


def test_precision_reaches_the_product():
    for with_bias in (True, False):
        f, x = make(with_bias, jax.lax.Precision.HIGHEST), normal(2, 5)
        assert "HIGHEST" in str(jax.make_jaxpr(f.apply)(f.init(jax.random.key(0), x), None, x))


def test_numpy_arrays_and_lists_of_python_numbers():
    f, x = make(), np.ones([2, 5], np.float32)
    params = f.init(jax.random.key(0), x)
    np.testing.assert_array_equal(f.apply(params, None, x), f.apply(params, None, jnp.asarray(x)))


def test_default_weights_have_the_variance_of_lecun():
    """1 / inputs before the cut at two standard deviations, as dm-haiku and Sonnet have it."""
    params = ps.transform(lambda x: ps.Linear(300)(x)).init(jax.random.key(0), jnp.ones([1, 400]))[
        "linear"
    ]
    w = np.float64(params["w"])
    assert abs(w).max() <= 2 / np.sqrt(400) + 1e-6
    np.testing.assert_allclose(w.std(), 0.87962566 / np.sqrt(400), rtol=0.01)
    assert not params["b"].any()


@pytest.mark.parametrize(
    ("dims", "shape", "axes"),
    [
        (None, (3, 4), (1, 2)),
        ([-1], (4,), (2,)),
        ([1], (3, 1), (1,)),
        ([1, 2], (3, 4), (1, 2)),
        ([], (), ()),
    ],
)
def test_bias(dims, shape, axes):
    f = ps.transform(
        lambda x, m=None: ps.Bias(bias_dims=dims, b_init=ps.initializers.RandomNormal())(x, m)
    )
    x = normal(2, 3, 4)
    params = f.init(jax.random.key(0), x)
    b = params["bias"]["b"]
    assert b.shape == shape
    full = np.asarray(b).reshape([size if axis in axes else 1 for axis, size in enumerate(x.shape)])
    np.testing.assert_allclose(f.apply(params, None, x), x + full, rtol=1e-6)
    np.testing.assert_allclose(f.apply(params, None, x, -2.0), x - 2 * full, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: ps.Linear(3)(jnp.float32(1)),
            r"Linear 'linear' was given a scalar.*\[\.\.\., inputs\]",
        ),
        (lambda: ps.Bias()(jnp.ones([3])), r"'bias'.*\[B, \.\.\.\].*\(3,\)"),
        (lambda: ps.Bias([4])(jnp.ones([2, 3])), r"'bias'.*\[B, 4\].*\(2, 3\)"),
        (lambda: ps.Bias(bias_dims=[0])(jnp.ones([2, 3])), "axis 0, which is the batch"),
        (lambda: ps.Bias(bias_dims=[5])(jnp.ones([2, 3])), "axis 5.*2 axes"),
    ],
)
def test_errors(call, says):
    with pytest.raises(ps.errors.LayerError, match=says):
        ps.transform(call).init(jax.random.key(0))
