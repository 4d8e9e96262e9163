import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

DRAW = np.random.RandomState(0)
W = DRAW.standard_normal((5, 4)).astype(np.float32)


def many_steps(w, **kwargs):
    f = ps.transform_with_state(lambda w: ps.SpectralNorm(eps=1e-12, n_steps=200)(w, **kwargs))
    _, state = f.init(jax.random.key(0), w)
    return f.apply({}, state, None, w)


@pytest.mark.parametrize("shape", [(5, 4), (3, 6), (2, 3, 4)])
def test_against_the_singular_values(shape):
    w = DRAW.standard_normal(shape).astype(np.float32)
    out, state = many_steps(w)
    _, values, right = np.linalg.svd(w.astype(np.float64).reshape(-1, shape[-1]))
    np.testing.assert_allclose(out, w / values[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["spectral_norm"]["sigma"], values[0], rtol=1e-5)
    u0 = state["spectral_norm"]["u0"][0]
    np.testing.assert_allclose(
        u0 * np.sign(u0[0]), right[0] * np.sign(right[0, 0]), rtol=1e-3, atol=1e-3
    )


def test_each_call_gets_nearer():
    f = ps.transform_with_state(lambda w: ps.SpectralNorm()(w))
    _, state = f.init(jax.random.key(0), W)
    sigmas = []
    for _ in range(40):
        _, state = f.apply({}, state, None, W)
        sigmas.append(float(state["spectral_norm"]["sigma"]))
    largest = np.linalg.svd(W, compute_uv=False)[0]
    assert sigmas[0] < 0.99 * largest
    np.testing.assert_allclose(sigmas[-1], largest, rtol=1e-3)


@pytest.mark.slow
def test_gradient_takes_the_singular_vectors_as_given():
    """`d sum(G W / s)` where `s = u W v` and u and v do not move: `G / s - sum(G W) u v / s**2`."""
    g = DRAW.standard_normal(W.shape)
    gradient = jax.grad(lambda w: jnp.sum(many_steps(w)[0] * g))(jnp.asarray(W))
    left, values, right = np.linalg.svd(W.astype(np.float64))
    outer = np.outer(left[:, 0], right[0])
    np.testing.assert_allclose(
        gradient, g / values[0] - (g * W).sum() / values[0] ** 2 * outer, rtol=1e-3, atol=1e-3
    )


def test_without_updates_nothing_is_kept():
    f = ps.transform_with_state(lambda w: ps.SpectralNorm()(w, update_stats=False))
    _, state = f.init(jax.random.key(0), W)
    assert list(state["spectral_norm"]) == ["u0"]
    _, new_state = f.apply({}, state, None, W)
    np.testing.assert_array_equal(new_state["spectral_norm"]["u0"], state["spectral_norm"]["u0"])


def test_properties():
    def f(w):
        layer = ps.SpectralNorm()
        before = layer.sigma
        layer(w)
        return before, layer.sigma, layer.u0

    g = ps.transform_with_state(f)
    _, state = g.init(jax.random.key(0), W)
    (before, sigma, u0), new_state = g.apply({}, None, jax.random.key(0), W)
    assert float(before) == 1.0
    assert float(sigma) == float(new_state["spectral_norm"]["sigma"]) != 1.0
    assert u0.shape == (1, 4)
    assert float(state["spectral_norm"]["sigma"]) == 1.0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ps.SpectralNorm()(1.0), r"spectral_norm.*\(\)"),
        (lambda: ps.SpectralNorm()(np.ones(3)), r"spectral_norm.*\(3,\)"),
        (lambda: ps.SpectralNorm()(np.ones([1, 2, 3]), error_on_non_matrix=True), r"\(1, 2, 3\)"),
        (lambda: ps.SpectralNorm(n_steps=0), "n_steps=0"),
    ],
)
def test_errors(call, says):
    with pytest.raises(ValueError, match=says) as error:
        ps.transform_with_state(call).init(jax.random.key(0))
    assert isinstance(error.value, ps.errors.PurestateError)


def test_tree():
    tree = {"mlp/~/linear_0": {"w": W, "b": np.ones(4, np.float32)}, "head": {"w": W.T}}
    f = ps.transform_with_state(
        lambda tree: ps.SNParamsTree(1e-12, n_steps=200, ignore_regex=".*/b$")(tree)
    )
    _, state = f.init(jax.random.key(0), tree)
    out, _ = f.apply({}, state, None, tree)
    assert list(state) == ["sn_params_tree/mlp___tilde__linear_0__w", "sn_params_tree/head__w"]
    np.testing.assert_array_equal(out["mlp/~/linear_0"]["b"], 1.0)
    for module in tree:
        np.testing.assert_allclose(
            np.linalg.svd(out[module]["w"], compute_uv=False)[0], 1.0, rtol=1e-5
        )
    with pytest.raises(ValueError, match=r"linear_0__b.*\(4,\)"):
        ps.transform_with_state(lambda tree: ps.SNParamsTree()(tree)).init(jax.random.key(0), tree)
