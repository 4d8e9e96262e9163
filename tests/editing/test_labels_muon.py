"""Muon for some parameters, by `ps.labels`, against each optimizer by itself and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purestate as ps
from purestate.surgery import glob, has_ndim, of_module

X = jax.random.randint(jax.random.key(1), [8, 5], 0, 20)


def net(x):
    h = ps.Embed(20, 8, name="embed")(x).mean(1)
    h = ps.nets.MLP([16, 8], activate_final=True, name="body")(ps.LayerNorm(-1, True, True)(h))
    return ps.Linear(4, name="head")(h)


F = ps.transform(net)
PARAMS = F.init(jax.random.key(0), X)
SPECS = ps.specs(F)(jax.random.key(0), X)
MATRICES = has_ndim(2) & ~of_module(ps.Embed, SPECS) & ~glob("head/*")
LABEL = ps.labels({MATRICES: "muon"}, default="adam")
TX = optax.multi_transform({"muon": optax.contrib.muon(0.02), "adam": optax.adamw(3e-3)}, LABEL)


def test_matrices_get_muon_and_the_rest_adam():
    found = LABEL(PARAMS)
    muon = [(m, n) for m, bundle in found.items() for n, label in bundle.items() if label == "muon"]
    assert muon == [("body/~/linear_0", "w"), ("body/~/linear_1", "w")]

    params, opt = PARAMS, ps.Optimizer(TX).init(PARAMS)
    matrices, others = ps.surgery.partition_with_path(PARAMS, MATRICES)
    one, other = optax.contrib.muon(0.02), optax.adamw(3e-3)
    muon_state, adam_state = one.init(matrices), other.init(others)
    for key in jax.random.split(jax.random.key(2), 3):
        grads = jax.tree.map(lambda p, key=key: jax.random.normal(key, p.shape), PARAMS)
        params, opt = jax.jit(lambda g, p, o: o.update(g, p))(grads, params, opt)
        for_muon, for_adam = ps.surgery.partition_with_path(grads, MATRICES)
        updates, muon_state = one.update(for_muon, muon_state, matrices)
        matrices = optax.apply_updates(matrices, updates)
        updates, adam_state = other.update(for_adam, adam_state, others)
        others = optax.apply_updates(others, updates)
    expected = ps.surgery.combine(matrices, others)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), params, expected
    )


def test_the_update_of_a_matrix_is_newton_schulz_of_its_gradient():
    """Jordan et al. 2024: five steps of the quintic with their coefficients, in NumPy and float64."""
    grads = jax.tree.map(lambda p: jax.random.normal(jax.random.key(3), p.shape), PARAMS)
    updates, _ = TX.update(grads, TX.init(PARAMS), PARAMS)
    g = np.asarray(grads["body/~/linear_0"]["w"], np.float64)  # [8, 16]
    x = g / np.linalg.norm(g)
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    expected = -0.02 * np.sqrt(max(1, 16 / 8)) * x
    np.testing.assert_allclose(updates["body/~/linear_0"]["w"], expected, rtol=1e-3, atol=1e-5)
    assert np.linalg.svd(x, compute_uv=False).min() > 0.5
    # Adam's first step is the sign of the gradient.
    np.testing.assert_allclose(
        updates["head"]["b"], -3e-3 * jnp.sign(grads["head"]["b"]), rtol=1e-3
    )
