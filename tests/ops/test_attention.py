"""`dot_product_attention` with each option, forward and gradient, against float64."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._ops.attention import dot_product_attention, scaled_attention
from tests.layers.attention_reference import attention, slope, weights_of

B, T, S, H, K = 2, 5, 7, 4, 8
KEYS = jax.random.split(jax.random.key(0), 8)


def operands(groups: int = 2, length: int = S) -> Any:
    q = 2 * jax.random.normal(KEYS[0], [B, T, H, K])
    k = 2 * jax.random.normal(KEYS[1], [B, length, groups, K])
    v = jax.random.normal(KEYS[2], [B, length, groups, K])
    return q, k, v


BIAS = jax.random.normal(KEYS[3], [1, H, T, S])
MASK = jax.random.bernoulli(KEYS[4], 0.6, [B, 1, T, S]).at[..., 0].set(True)

OPTIONS: list[dict[str, Any]] = [
    {"logits_soft_cap": 1.5},
    {"logits_soft_cap": 1.5, "is_causal": True, "window": 3},
    {"softmax_dtype": "float32", "scale": 0.2},
    {"is_causal": True},
    {"is_causal": True, "window": 2},
    {"window": 3},
    {"logits_soft_cap": 3.0, "scale": 0.5, "softmax_dtype": "float32"},
]
CASES = [
    pytest.param(
        groups, options, has_bias, has_mask,
        marks=[] if (i + i // 7) % 5 == 0 else pytest.mark.slow,
    )
    for i, (groups, options, has_bias, has_mask) in enumerate(
        itertools.product((1, 2, 4), OPTIONS, (False, True), (False, True))
    )
]  # fmt: skip


def reference_options(options: Any) -> Any:
    names = {
        "logits_soft_cap": "cap",
        "scale": "scale",
        "is_causal": "is_causal",
        "window": "window",
    }
    return {names[name]: value for name, value in options.items() if name in names}


@pytest.mark.parametrize("groups, options, has_bias, has_mask", CASES)
def test_against_float64(groups: int, options: Any, has_bias: bool, has_mask: bool) -> None:
    q, k, v = operands(groups)
    bias, mask = (BIAS if has_bias else None), (MASK if has_mask else None)
    expected = attention(q, k, v, bias, mask, **reference_options(options))

    def run(q: Any, k: Any, v: Any) -> Any:
        return dot_product_attention(q, k, v, bias, mask, None, **options)

    for f in (run, jax.jit(run)):
        np.testing.assert_allclose(f(q, k, v), expected, rtol=1e-4, atol=1e-5)
    grads = jax.grad(lambda *a: jnp.sin(run(*a)).sum(), (0, 1, 2))(q, k, v)
    directions = [jnp.cos(jnp.arange(x.size)).reshape(x.shape) for x in (q, k, v)]
    found = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
    by_differences = slope(
        lambda *a: np.sin(attention(*a, bias, mask, **reference_options(options))).sum(),
        (q, k, v),
        directions,
    )
    np.testing.assert_allclose(found, by_differences, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", OPTIONS)
def test_of_multi_head_attention(options: Any) -> None:
    q, k, v = operands(H)
    v = v[..., :3]
    run = lambda q, k, v: scaled_attention(q, k, v, BIAS, MASK, None, **options)
    expected = attention(q, k, v, BIAS, MASK, **reference_options(options))
    for f in (run, jax.jit(run)):
        np.testing.assert_allclose(f(q, k, v), expected, rtol=1e-4, atol=1e-5)
    # Without a batch, and with two leading axes.
    out = run(q[0], k[0], v[0]) if options.get("is_causal") else None
    if out is None:
        many = scaled_attention(q[None], k[None], v[None], BIAS[None], MASK[None], None, **options)
        np.testing.assert_allclose(many[0], expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_the_bias() -> None:
    q, k, v = operands()
    loss = lambda bias: jnp.sin(
        dot_product_attention(q, k, v, bias, MASK, None, logits_soft_cap=2.0)
    ).sum()
    grad = jax.grad(loss)(BIAS)
    direction = jnp.cos(jnp.arange(BIAS.size)).reshape(BIAS.shape)
    expected = slope(
        lambda bias: np.sin(attention(q, k, v, bias, MASK, cap=2.0)).sum(), (BIAS,), (direction,)
    )
    np.testing.assert_allclose((grad * direction).sum(), expected, rtol=1e-3)


@pytest.mark.parametrize("f, groups", [(dot_product_attention, 2), (scaled_attention, H)])
def test_dropout(f: Any, groups: int) -> None:
    """With values that are the unit vectors the output is the weights."""
    q, k, _ = operands(groups)
    v = jnp.broadcast_to(jnp.eye(S)[None, :, None], [B, S, groups, S])
    weights = weights_of(q, k)
    run = jax.jit(
        lambda key, rate: f(q, k, v, None, None, key, dropout_rate=rate), static_argnums=1
    )
    if f is dot_product_attention:
        with pytest.raises(ValueError):  # jax.nn's own needs values like keys
            f(q, k, v)
    dropped = [np.asarray(run(key, 0.25)).swapaxes(1, 2) for key in jax.random.split(KEYS[5], 200)]
    kept = np.stack(dropped) != 0
    assert abs(kept.mean() - 0.75) < 0.01
    np.testing.assert_allclose(
        np.stack(dropped)[kept],
        np.broadcast_to(weights / 0.75, kept.shape)[kept],
        rtol=1e-3,
        atol=1e-6,
    )
    np.testing.assert_array_equal(run(KEYS[5], 0.25), run(KEYS[5], 0.25))


def test_softmax_dtype_in_bfloat16() -> None:
    q, k, v = (x.astype(jnp.bfloat16) for x in operands(H, 64))
    exact = attention(q.astype(float), k.astype(float), v.astype(float))
    narrow = scaled_attention(q, k, v, None, None, None)
    wide = scaled_attention(q, k, v, None, None, None, softmax_dtype=jnp.float32)
    assert narrow.dtype == wide.dtype == jnp.bfloat16
    errors = [np.abs(np.asarray(out, np.float64) - exact).mean() for out in (narrow, wide)]
    assert errors[1] < 0.7 * errors[0]
    text = str(
        jax.make_jaxpr(
            lambda *a: scaled_attention(*a, None, None, None, softmax_dtype=jnp.float32)
        )(q, k, v)
    )
    assert f"f32[{B},{H}" in text


def test_a_query_that_sees_nothing_takes_the_mean() -> None:
    q, k, v = operands()
    mask = MASK.at[:, :, 2].set(False)
    out = dot_product_attention(q, k, v, None, mask, logits_soft_cap=1.0)
    np.testing.assert_allclose(out[:, 2, 0], v.mean(1)[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        out, dot_product_attention(q, k, v, None, mask, logits_soft_cap=1e6), atol=2.5
    )


def test_options_are_seen_and_changed_by_interceptors() -> None:
    q, k, v = operands()
    f = ps.transform(lambda: ps.ops.dot_product_attention(q, k, v))

    def capped(next_op: Any, operands: Any, context: Any) -> Any:
        assert context.options["logits_soft_cap"] is None
        return next_op(*operands, logits_soft_cap=0.5)

    with ps.intercept_ops(capped):
        out = f.apply({}, None)
    np.testing.assert_allclose(out, attention(q, k, v, cap=0.5), rtol=1e-4, atol=1e-5)
