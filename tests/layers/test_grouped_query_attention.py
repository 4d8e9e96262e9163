"""`GroupedQueryAttention`: float64 arithmetic, flax, decoding step by step, and what it refuses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.attention_masks import causal_mask, padding_mask, sliding_window_mask
from purestate._layers.errors import LayerError
from purestate._layers.grouped_query_attention import GroupedQueryAttention
from purestate._layers.lora import lora
from tests.layers.test_rotary_embedding import turned

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 6, 12])  # [B, T, D]
HEADS, SIZE = 4, 8


def model(num_kv_heads=2, num_heads=HEADS, **kwargs):
    def f(x, *args, **call):
        return GroupedQueryAttention(num_heads, SIZE, num_kv_heads, name="gqa", **kwargs)(
            x, *args, **call
        )

    return ps.transform_with_state(f)


def applied(f, params, *args, **call):
    out, state = f.apply(params, None, None, *args, **call)
    assert not state
    return out


def reference(params, x, mask, num_kv_heads, rotary_base=None):
    """Head by head, in float64."""
    p = {
        module: {k: np.asarray(v, np.float64) for k, v in variables.items()}
        for module, variables in params.items()
    }

    def linear(name, x):
        return x @ p[f"gqa/{name}"]["w"] + p[f"gqa/{name}"].get("b", 0)

    x = np.asarray(x, np.float64)
    batch, length, _ = x.shape
    query, key, value = (
        linear(name, x).reshape(batch, length, -1, SIZE) for name in ("query", "key", "value")
    )
    if rotary_base is not None:
        query, key = (turned(y, np.arange(length), rotary_base, False) for y in (query, key))
    mask = np.broadcast_to(mask, [batch, HEADS, length, length])
    out = np.zeros([batch, length, HEADS, SIZE])
    for b, h in np.ndindex(batch, HEADS):
        kv = h // (HEADS // num_kv_heads)  # neighbouring query heads are a group
        logits = np.where(mask[b, h], query[b, :, h] @ key[b, :, kv].T / np.sqrt(SIZE), -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out[b, :, h] = weights / weights.sum(-1, keepdims=True) @ value[b, :, kv]
    return linear("output", out.reshape(batch, length, -1))


@pytest.mark.parametrize("num_kv_heads, rotary_base, with_bias", [
    (1, None, True), (2, 100.0, False), (4, 100.0, True), (None, None, False),
])  # fmt: skip
def test_against_float64(num_kv_heads, rotary_base, with_bias):
    b_init = ps.initializers.RandomNormal() if with_bias else None
    f = model(num_kv_heads, with_bias=with_bias, b_init=b_init, rotary_base=rotary_base)
    params, state = f.init(KEY, X)
    assert state == {}
    assert params["gqa/key"]["w"].shape == (12, SIZE * (num_kv_heads or HEADS))
    assert all(("b" in variables) == with_bias for variables in params.values())
    for mask in (
        causal_mask(6),
        padding_mask(jnp.array([3, 6]), 6),
        jnp.ones([2, HEADS, 6, 6], bool),
    ):
        expected = reference(params, X, mask, num_kv_heads or HEADS, rotary_base)
        np.testing.assert_allclose(applied(f, params, X, mask), expected, rtol=1e-4, atol=1e-5)
    expected = reference(params, X, causal_mask(6), num_kv_heads or HEADS, rotary_base)
    np.testing.assert_allclose(
        applied(f, params, X, is_causal=True), expected, rtol=1e-4, atol=1e-5
    )


def flax_params(params):
    kernels = {
        name: params[f"gqa/{name}"]["w"].reshape(12, HEADS, SIZE)
        for name in ("query", "key", "value")
    }
    kernels["out"] = params["gqa/output"]["w"].reshape(HEADS, SIZE, 12)
    return {"params": {name: {"kernel": kernel} for name, kernel in kernels.items()}}


def test_against_flax():
    f = model(None)
    params, _ = f.init(KEY, X)
    theirs = nn.MultiHeadDotProductAttention(HEADS, qkv_features=HEADS * SIZE, use_bias=False)
    expected = theirs.apply(flax_params(params), X, mask=causal_mask(6))
    np.testing.assert_allclose(
        applied(f, params, X, causal_mask(6)), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_decoding_against_flax():
    f = model(None, cache_size=6)
    params, state = f.init(KEY, X)
    theirs = nn.MultiHeadDotProductAttention(
        HEADS, qkv_features=HEADS * SIZE, use_bias=False, decode=True
    )
    cache = theirs.init(KEY, X)["cache"]
    for t in range(6):
        step = X[:, t : t + 1]
        out, state = f.apply(params, state, None, step)
        expected, changed = theirs.apply(
            {**flax_params(params), "cache": cache}, step, mutable=["cache"]
        )
        cache = changed["cache"]
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("rotary_base, chunks, cache_size, compiled", [
    (None, (1,) * 6, 6, False),
    pytest.param(10000, (1,) * 6, 9, True, marks=pytest.mark.slow),
    pytest.param(10000, (6,), 6, True, marks=pytest.mark.slow),
    (None, (3, 1, 1, 1), 9, True),
    (10000, (2, 3, 1), 6, False),
])  # fmt: skip
def test_decoding_is_the_full_forward_pass(rotary_base, chunks, cache_size, compiled):
    full = model(rotary_base=rotary_base)
    f = model(rotary_base=rotary_base, cache_size=cache_size)
    params, state = f.init(KEY, X[:, : chunks[0]])
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, full.init(KEY, X)[0]))
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))
    apply = jax.jit(f.apply) if compiled else f.apply
    outs, at = [], 0
    for chunk in chunks:
        out, state = apply(params, state, None, X[:, at : at + chunk])
        outs.append(out)
        at += chunk
        assert int(state["gqa"]["position"]) == at
    expected = applied(full, params, X, causal_mask(6))
    np.testing.assert_allclose(jnp.concatenate(outs, 1), expected, rtol=1e-4, atol=1e-5)


def test_frequencies():
    frequencies = ps.rotary_frequencies(SIZE, 100.0, factor=4.0)
    f = model(rotary_frequencies=frequencies)
    params, _ = f.init(KEY, X)
    out = applied(f, params, X, is_causal=True)
    same = applied(model(rotary_base=100.0), params, X, is_causal=True, positions=jnp.arange(6) / 4)
    np.testing.assert_allclose(out, same, rtol=1e-4, atol=1e-5)
    other = applied(model(rotary_base=100.0), params, X, is_causal=True)
    assert jnp.abs(out - other).max() > 1e-3
    decoding = model(rotary_frequencies=frequencies, cache_size=6)
    _, state = decoding.init(KEY, X)
    for t in range(6):
        step, state = decoding.apply(params, state, None, X[:, t : t + 1])
        np.testing.assert_allclose(step[:, 0], out[:, t], rtol=1e-4, atol=1e-5)


def test_a_base_and_frequencies():
    with pytest.raises(LayerError, match="rotary_base=10.0 has no effect beside"):
        ps.transform(
            lambda x: GroupedQueryAttention(2, 8, rotary_base=10.0, rotary_frequencies=np.ones(4))(
                x
            )
        ).init(KEY, X)


def test_decoding_in_a_scan():
    f = model(rotary_base=10000, cache_size=8)
    params, state = f.init(KEY, X[:, :1])

    def step(state, x):
        out, state = f.apply(params, state, None, x[:, None])
        return state, out[:, 0]

    state, outs = jax.jit(lambda: jax.lax.scan(step, state, X.swapaxes(0, 1)))()
    expected = applied(model(rotary_base=10000), params, X, is_causal=True)
    np.testing.assert_allclose(outs.swapaxes(0, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_decoding_rows_that_begin_at_different_steps():
    """Prompts with padding in front: the mask hides it, and positions count from behind it."""
    pad = 2
    f, full = model(rotary_base=10000, cache_size=6), model(rotary_base=10000)
    padded = X.at[1, :pad].set(100.0)
    params, state = f.init(KEY, padded[:, :4])
    hide = (jnp.arange(6)[None] >= jnp.array([[0], [pad]]))[:, None, None]
    positions = jnp.arange(6)[None] - jnp.array([[0], [pad]])
    first, state = f.apply(params, state, None, padded[:, :4], hide, positions=positions[:, :4])
    last, state = f.apply(params, state, None, padded[:, 4:], hide, positions=positions[:, 4:])
    out = jnp.concatenate([first, last], 1)
    np.testing.assert_allclose(
        out[0], applied(full, params, X[:1], is_causal=True)[0], rtol=1e-4, atol=1e-5
    )
    alone = applied(full, params, X[1:, pad:], is_causal=True)[0]
    np.testing.assert_allclose(out[1, pad:], alone, rtol=1e-4, atol=1e-5)


def test_full_cache_is_an_error_where_it_can_be_seen():
    f = model(cache_size=6)
    params, state = f.init(KEY, X)
    _, state = f.apply(params, state, None, X[:, :5])
    with pytest.raises(
        LayerError, match="'gqa' keeps cache_size=6 steps; 5 are there, and 2 more do not fit"
    ):
        f.apply(params, state, None, X[:, :2])
    with pytest.raises(LayerError, match="6 more do not fit"):
        jax.jit(model(cache_size=5).apply)(params, {}, None, X)
    # Compiled, the position is not known: what would be wrong is NaN, and what is right is not.
    out, full = jax.jit(f.apply)(params, state, None, X[:, :1])
    assert np.isfinite(out).all()
    out, full = jax.jit(f.apply)(params, full, None, X[:, :1])
    assert np.isnan(out).all()


@pytest.mark.slow
def test_without_a_batch():
    f = model(rotary_base=10.0)
    params, _ = f.init(KEY, X)
    expected = applied(f, params, X, causal_mask(6))[0]
    for mask in (causal_mask(6), causal_mask(6)[0]):
        np.testing.assert_allclose(applied(f, params, X[0], mask), expected, rtol=1e-4, atol=1e-5)
    g = model(rotary_base=10.0, cache_size=6)
    _, state = g.init(KEY, X[0])
    assert state["gqa"]["cached_keys"].shape == (6, 2, SIZE)
    first, state = g.apply(params, state, None, X[0, :4])
    last, state = g.apply(params, state, None, X[0, 4:])
    np.testing.assert_allclose(jnp.concatenate([first, last]), expected, rtol=1e-4, atol=1e-5)
    rows = jax.vmap(lambda x: applied(f, params, x, causal_mask(6)[0]))(X)
    np.testing.assert_allclose(rows[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gradients():
    f = model(rotary_base=100.0)
    params, _ = f.init(KEY, X)

    def loss(params, x):
        return jnp.sin(applied(f, params, x, is_causal=True)).sum()

    grads, grad_x = jax.grad(loss, (0, 1))(params, X)
    direction = jax.tree.map(lambda p: jnp.ones_like(p) * 0.1, params)
    ahead, behind = (
        float(np.sin(reference(jax.tree.map(lambda p, d: np.asarray(p, np.float64) + e * np.asarray(d), params, direction),
                               X, causal_mask(6), 2, 100.0)).sum())
        for e in (1e-5, -1e-5)
    )  # fmt: skip
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: float((g * d).sum()), grads, direction)))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-3)
    # Nothing depends on the steps after it.
    first = jax.grad(lambda x: applied(f, params, x, is_causal=True)[:, :3].sum())(X)
    assert not first[:, 3:].any()
    assert grad_x[:, 3:].any()


def test_sliding_window_and_out_size():
    f = model(out_size=5)
    params, _ = f.init(KEY, X)
    mask = sliding_window_mask(6, 2)
    np.testing.assert_allclose(
        applied(f, params, X, mask), reference(params, X, mask, 2), rtol=1e-4, atol=1e-5
    )


def test_sliding_window_with_a_cache():
    f, full = model(cache_size=6), model()
    params, state = f.init(KEY, X[:, :2])
    outs = []
    for t in range(0, 6, 2):
        mask = sliding_window_mask(2, 3, kv_len=6, offset=t)
        out, state = f.apply(params, state, None, X[:, t : t + 2], mask)
        outs.append(out)
    expected = applied(full, params, X, sliding_window_mask(6, 3))
    np.testing.assert_allclose(jnp.concatenate(outs, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_with_strict_ranks_and_dtypes():
    f = model(rotary_base=10000, cache_size=6, param_dtype=jnp.float32)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        # In float32: jax.nn.dot_product_attention itself mixes dtypes where the input is bfloat16.
        params, state = f.init(KEY, X)
        out, _ = f.apply(params, state, None, X, padding_mask(jnp.array([3, 6]), 6))
    assert out.dtype == jnp.float32


@pytest.mark.slow
def test_dtypes():
    x = X.astype(jnp.bfloat16)
    f = model(rotary_base=10000, cache_size=6, param_dtype=jnp.float32, with_bias=True)
    params, state = f.init(KEY, x)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert str(state["gqa"]["cached_keys"].dtype) == "bfloat16"
    out, state = f.apply(params, state, None, x)
    assert out.dtype == jnp.bfloat16
    expected = reference(params, X, causal_mask(6), 2, 10000)
    np.testing.assert_allclose(out.astype(float), expected, atol=0.05)
    # A cache that was made in another dtype keeps it.
    wide, state = f.apply(params, jax.tree.map(jnp.zeros_like, state), None, X)
    assert (wide.dtype, str(state["gqa"]["cached_keys"].dtype)) == (jnp.float32, "bfloat16")
    np.testing.assert_allclose(wide, expected, atol=0.02)


def test_implementation_is_passed_on(monkeypatch):
    seen = []
    original = jax.nn.dot_product_attention

    def record(*args, implementation=None, is_causal, **kwargs):
        seen.append((implementation, is_causal))
        return original(*args, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    params, _ = model().init(KEY, X)
    seen.clear()
    for implementation in (None, "xla"):
        applied(model(implementation=implementation), params, X, is_causal=True)
    # As if there were a GPU: a test of what is passed on, since cuDNN is not here.
    monkeypatch.setattr("purestate._ops.attention_kernels.platform", lambda: "gpu")
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    applied(model(implementation="cudnn"), half, X.astype(jnp.bfloat16), is_causal=True)
    assert seen == [(None, True), ("xla", True), ("cudnn", True)]


def test_lora_finds_the_projections():
    def f(x):
        with lora(2, lambda layer: layer.name in ("query", "value")):
            return GroupedQueryAttention(HEADS, SIZE, 2)(x)

    params = jax.eval_shape(ps.transform(f).init, KEY, X)
    found = sorted(module for module, variables in params.items() if "lora_a" in variables)
    assert found == ["grouped_query_attention/query", "grouped_query_attention/value"]


@pytest.mark.parametrize("kwargs, match", [
    ({"num_kv_heads": 3}, "num_kv_heads=3"),
    ({"num_kv_heads": 0}, "num_kv_heads=0"),
    ({"cache_size": 0}, "cache_size=0"),
    ({"implementation": "flash"}, "'flash'"),
    ({"implementation": 3}, "got an int"),
    ({"logits_soft_cap": 0}, "logits_soft_cap"),
    ({"dropout_rate": 1.0}, "dropout_rate"),
    ({"qk_norm": "batch"}, "qk_norm"),
    ({"scale": "large"}, "scale"),
    ({"window": 0}, "window=0"),
    ({"window": 4, "cache_size": 3}, "all steps of window=4"),
])  # fmt: skip
def test_options_that_do_not_fit(kwargs, match):
    with pytest.raises(LayerError, match=f"GroupedQueryAttention 'gqa'.*{match}"):
        model(**kwargs).init(KEY, X)
    with pytest.raises(LayerError, match="key_size=7"):
        ps.transform(lambda x: GroupedQueryAttention(2, 7, rotary_base=10000)(x)).init(KEY, X)


def test_inputs_that_do_not_fit():
    f = model()
    params, _ = f.init(KEY, X)
    with pytest.raises(LayerError, match=r"\[B, T, D\]"):
        applied(f, params, X[None])
    with pytest.raises(LayerError, match="rotary_base"):
        applied(f, params, X, positions=jnp.arange(6))
    for mask in (
        jnp.ones([2, 6, 6], bool),
        jnp.ones([6, 6], bool),
        jnp.ones([1, 1, 6, 6]),
        jnp.ones([1, 1, 6, 5], bool),
    ):
        with pytest.raises(LayerError, match=r"\(2, 4, 6, 6\).*mask\[None, None\]"):
            applied(f, params, X, mask)
    g = model(cache_size=8)
    _, state = g.init(KEY, X)
    with pytest.raises(LayerError, match=r"\(2, 4, 6, 8\)"):
        g.apply(params, state, None, X, causal_mask(6))
    with pytest.raises(
        LayerError, match=r"'cached_keys' has shape \(2, 8, 2, 8\), but \(1, 8, 2, 8\)"
    ):
        g.apply(params, state, None, X[:1])
