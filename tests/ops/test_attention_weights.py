"""Weights of attention are sown: to whom they are visible, in which modes, and what they cost."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.attention_reference import heads_of, weights_of

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 5, 12])
MASK = ps.causal_mask(5)
INIT = ps.initializers.VarianceScaling()


def multi_head(x: Any, **options: Any) -> Any:
    return ps.MultiHeadAttention(4, 8, w_init=INIT, model_size=12, name="a", **options)(
        x, x, x, MASK
    )


def grouped(x: Any, **options: Any) -> Any:
    return ps.GroupedQueryAttention(4, 8, 2, name="a", **options)(x, MASK)


def expected(params: Any, x: Any, **options: Any) -> Any:
    q, k = (heads_of(params, f"a/{name}", x, 8) for name in ("query", "key"))
    return weights_of(q, k, None, np.asarray(MASK), **options)


def _close(found: Any, weights: Any) -> None:
    np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [multi_head, grouped])
@pytest.mark.parametrize("compiled", [False, True])
def test_captured(layer: Any, compiled: bool) -> None:
    f = ps.transform(layer)
    params = f.init(KEY, X)
    apply = ps.capture_intermediates(f, False).apply
    out, found = (jax.jit(apply) if compiled else apply)(params, None, X)
    (weights,) = found["a"]["attention_weights"]
    _close(weights, expected(params, X))
    same = (jax.jit(f.apply) if compiled else f.apply)(params, None, X)
    np.testing.assert_array_equal(out, same)


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_free_unless_requested(layer: Any) -> None:
    f = ps.transform_with_collections(layer)
    variables = f.init(KEY, X)
    assert set(variables) == {"params"}
    plain = jax.make_jaxpr(lambda v: f.apply(v, None, X))(variables)
    other = jax.make_jaxpr(lambda v: f.apply(v, None, X, mutable=["cache"])[0])(variables)
    sown = jax.make_jaxpr(lambda v: f.apply(v, None, X, mutable=["intermediates"]))(variables)
    assert str(plain) == str(other)
    count = lambda jaxpr: len(jaxpr.jaxpr.eqns)
    assert count(sown) > count(plain)
    assert str(plain).count("exp") == str(sown).count("exp") / 2


def test_through_collections() -> None:
    f = ps.transform_with_collections(grouped)
    variables = f.init(KEY, X)
    _, updated = f.apply(variables, None, X, mutable=["intermediates"])
    (weights,) = updated["intermediates"]["a"]["attention_weights"]
    _close(weights, expected(variables["params"], X))


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_of_a_cap_and_before_dropout(layer: Any) -> None:
    options = {"logits_soft_cap": 0.2, "dropout_rate": 0.5}
    f = ps.transform(lambda x: layer(x, **options))
    params = f.init(KEY, X)
    _, found = ps.capture_intermediates(f, False).apply(params, None, X)
    _close(found["a"]["attention_weights"][0], expected(params, X, cap=0.2))

    def training(x: Any) -> Any:
        if layer is grouped:
            return ps.GroupedQueryAttention(4, 8, 2, name="a", **options)(x, MASK, is_training=True)
        attend = ps.MultiHeadAttention(4, 8, w_init=INIT, model_size=12, name="a", **options)
        return attend(x, x, x, MASK, is_training=True)

    out, found = ps.capture_intermediates(ps.transform(training), False).apply(params, KEY, X)
    _close(found["a"]["attention_weights"][0], expected(params, X, cap=0.2))
    assert not np.allclose(out, f.apply(params, None, X), atol=1e-2)


def stacked(x: Any) -> Any:
    return ps.layer_stack(3)(grouped)(x)


def scanned(x: Any) -> Any:
    layer = ps.GroupedQueryAttention(4, 8, 2, name="a")
    step = lambda carry, _: (carry + layer(carry, MASK), None)
    return ps.scan(step, x, None, length=3)[0]


def mapped(x: Any) -> Any:
    layer = ps.GroupedQueryAttention(4, 8, 2, name="a")
    return ps.vmap(lambda x: layer(x, MASK[0]), split_rng=False)(x)


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_in_remat(layer: Any) -> None:
    f = ps.transform(lambda x: ps.remat(layer)(x))
    params = f.init(KEY, X)
    _, found = jax.jit(ps.capture_intermediates(f, False).apply)(params, None, X)
    _close(found["a"]["attention_weights"][0], expected(params, X))


@pytest.mark.parametrize("f", [stacked, scanned, mapped])
def test_in_lifted_functions(f: Any) -> None:
    g = ps.transform(f)
    params = g.init(KEY, X)
    apply = jax.jit(ps.capture_intermediates(g, False).apply)
    out, found = apply(params, None, X)
    (path,) = found
    (weights,) = found[path]["attention_weights"]
    assert weights.shape == ((2, 4, 5, 5) if f is mapped else (3, 2, 4, 5, 5))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    first = jax.tree.map(lambda leaf: leaf[0], params) if f is stacked else params
    by_name = {f"a/{path.rsplit('/', 1)[-1]}": values for path, values in first.items()}
    _close(weights if f is mapped else weights[0], expected(by_name, X))
    np.testing.assert_allclose(out, jax.jit(g.apply)(params, None, X), rtol=1e-5, atol=1e-6)


def test_under_a_gradient() -> None:
    f = ps.capture_intermediates(ps.transform(grouped), False)
    params = f.init(KEY, X)

    @jax.jit
    def loss(params: Any) -> Any:
        out, found = f.apply(params, None, X)
        (weights,) = found["a"]["attention_weights"]
        return jnp.sum(out**2), weights

    grads, weights = jax.grad(loss, has_aux=True)(params)
    _close(weights, expected(params, X))
    assert all(leaf.any() for leaf in jax.tree.leaves(grads))


def test_of_an_interceptor_that_changes_the_call() -> None:
    f = ps.capture_intermediates(ps.transform(grouped), False)
    params = f.init(KEY, X)

    def capped(next_op: Any, operands: Any, context: Any) -> Any:
        is_attention = context.op == "dot_product_attention"
        return next_op(*operands, **({"logits_soft_cap": 0.2} if is_attention else {}))

    def inside(next_op: Any, operands: Any, context: Any) -> Any:
        return jax.checkpoint(next_op)(*operands)

    for interceptor, options in ((capped, {"cap": 0.2}), (inside, {})):
        with ps.intercept_ops(interceptor):
            _, found = jax.jit(f.apply)(params, None, X)
        _close(found["a"]["attention_weights"][0], expected(params, X, **options))


def test_of_a_users_own_layer() -> None:
    q = X.reshape(2, 5, 3, 4)

    def f(q: Any) -> Any:
        with ps.name_scope("own"):
            return ps.ops.dot_product_attention(q, q, q)

    _, found = jax.jit(ps.capture_intermediates(ps.transform(f), False).apply)({}, None, q)
    _close(found["own"]["attention_weights"][0], weights_of(q, q))
