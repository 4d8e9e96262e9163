"""Chunks at every split, a ring for sliding windows, and cross-attention that is projected once."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.errors import LayerError
from tests.layers.attention_reference import attention, heads_of, linear

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 8, 12])
MEMORY = jax.random.normal(jax.random.key(2), [2, 5, 10])
IDS = jnp.array([[1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 2, 2, 2]])


def model(**options: Any) -> Any:
    def f(x: Any, **call: Any) -> Any:
        return ps.GroupedQueryAttention(4, 8, 2, name="a", **options)(x, **call)

    return ps.transform_with_state(f)


def run(apply: Any, params: Any, state: Any, x: Any, chunks: Any, ids: Any = None) -> Any:
    outs, at = [], 0
    axis = x.ndim - 2
    for chunk in chunks:
        call = {} if ids is None else {"segment_ids": ids[:, at : at + chunk]}
        part = jax.lax.slice_in_dim(x, at, at + chunk, axis=axis)
        out, state = apply(params, state, None, part, **call)
        outs.append(out)
        at += chunk
    assert int(state["a"]["position"]) == at
    return jnp.concatenate(outs, axis), state


def splits(n: int) -> list[tuple[int, ...]]:
    """All ways to write n as a sum, in order."""
    if not n:
        return [()]
    return [(first, *rest) for first in range(1, n + 1) for rest in splits(n - first)]


def _empty(f: Any, *args: Any, **call: Any) -> Any:
    return f.init(KEY, *args, **call)


def test_prefill_at_every_split() -> None:
    x = X[:, :5]
    f, full = model(rotary_base=100.0, cache_size=7), model(rotary_base=100.0)
    params, state = _empty(f, x[:, :1])
    expected, _ = full.apply(params, {}, None, x, is_causal=True)
    apply = jax.jit(f.apply)
    for chunks in splits(5):
        out, _ = run(apply, params, state, x, chunks)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


WINDOWS = [(1, 1), (3, 3), (3, 4), (2, 5), (8, 8)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("window, size", WINDOWS)
def test_a_ring_is_the_sliding_window(window: int, size: int) -> None:
    f = model(rotary_base=100.0, cache_size=size, window=window)
    full = model(rotary_base=100.0)
    params, state = _empty(f, X[:, :1])
    assert state["a"]["cached_keys"].shape == (2, size, 2, 8)
    mask = ps.sliding_window_mask(8, window)
    expected, _ = full.apply(params, {}, None, X, mask=mask)
    same, _ = model(rotary_base=100.0, window=window).apply(params, {}, None, X)
    np.testing.assert_allclose(same, expected, rtol=1e-4, atol=1e-5)
    apply = jax.jit(f.apply)
    for chunks in [(1,) * 8, (8,), (2, 3, 3), (1, 6, 1), (4, 1, 1, 2), (7, 1)]:
        out, _ = run(apply, params, state, X, chunks)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_ring_at_every_split() -> None:
    f, full = model(rotary_base=100.0, cache_size=3, window=2), model(rotary_base=100.0, window=2)
    params, state = _empty(f, X[:, :1])
    expected, _ = full.apply(params, {}, None, X[:, :7])
    apply = jax.jit(f.apply)
    for chunks in splits(7):
        out, _ = run(apply, params, state, X[:, :7], chunks)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_a_ring_over_a_long_sequence() -> None:
    """Many times around, in one scan, without a batch."""
    x = jax.random.normal(KEY, [50, 12])
    f = model(rotary_base=100.0, cache_size=4, window=4)
    params, state = _empty(f, x[:1])

    def step(state: Any, x: Any) -> Any:
        out, state = f.apply(params, state, None, x[None])
        return state, out[0]

    state, out = jax.jit(lambda: jax.lax.scan(step, state, x))()
    full = model(rotary_base=100.0)
    expected, _ = full.apply(params, {}, None, x, mask=ps.sliding_window_mask(50, 4))
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)
    assert int(state["a"]["position"]) == 50


@pytest.mark.parametrize("options", [{"cache_size": 8}, {"cache_size": 4, "window": 3}])
def test_segments_are_kept(options: Any) -> None:
    f = model(rotary_base=100.0, **options)
    full = model(rotary_base=100.0, window=options.get("window"))
    params, state = _empty(f, X[:, :1], segment_ids=IDS[:, :1])
    assert state["a"]["cached_segments"].shape == (2, options["cache_size"])
    expected, _ = full.apply(params, {}, None, X, is_causal=True, segment_ids=IDS)
    apply = jax.jit(f.apply)
    for chunks in [(1,) * 8, (3, 5), (8,)]:
        out, _ = run(apply, params, state, X, chunks, IDS)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_ring_in_bfloat16_and_its_gradient() -> None:
    f = model(cache_size=3, window=3, param_dtype=jnp.float32)
    x = X.astype(jnp.bfloat16)
    params, state = _empty(f, x)
    assert state["a"]["cached_keys"].dtype == jnp.bfloat16
    full = model(window=3, param_dtype=jnp.float32)

    def loss(g: Any, state: Any, params: Any) -> Any:
        return jnp.sum(g.apply(params, state, None, X)[0] ** 2)

    grads = [jax.grad(lambda p: loss(*g, p))(params) for g in ((f, state), (full, {}))]  # noqa: B023
    for path in grads[0]:
        for name, value in grads[0][path].items():
            np.testing.assert_allclose(value, grads[1][path][name], rtol=0.1, atol=0.2)


# --- cross-attention ---


def cross_reference(params: Any, x: Any, memory: Any, mask: Any = None) -> Any:
    q = heads_of(params, "a/query", x, 8)
    k, v = (heads_of(params, f"a/{name}", memory, 8) for name in ("key", "value"))
    out = attention(q, k, v, None, mask)
    return linear(params, "a/output", out.reshape(*x.shape[:-1], -1))


@pytest.mark.parametrize("compiled", [False, True])
def test_cross_attention(compiled: bool) -> None:
    f = model()
    params, _ = _empty(f, X, keys_values=MEMORY)
    assert params["a/key"]["w"].shape == (10, 16)
    apply = jax.jit(f.apply) if compiled else f.apply
    for mask in (None, ps.padding_mask(jnp.array([3, 5]), 5)):
        out, _ = apply(params, {}, None, X, keys_values=MEMORY, mask=mask)
        expected = cross_reference(params, X, MEMORY, mask)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    ids = jnp.array([[1, 1, 1, 1, 2], [1, 1, 2, 2, 2]])
    out, _ = apply(params, {}, None, X, keys_values=MEMORY, segment_ids=(IDS.clip(1), ids))
    same = np.asarray(IDS.clip(1))[:, None, :, None] == np.asarray(ids)[:, None, None, :]
    expected = cross_reference(params, X, MEMORY, same)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    one, _ = apply(params, {}, None, X[0], keys_values=MEMORY[0])
    expected = cross_reference(params, X, MEMORY)[0]
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_cross_attention_is_projected_once(compiled: bool) -> None:
    f, plain = model(cache_size=5, qk_norm="rms"), model(qk_norm="rms")
    params, state = _empty(f, X[:, :1], keys_values=MEMORY)
    same, _ = _empty(plain, X[:, :1], keys_values=MEMORY)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, same))
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))
    apply = jax.jit(f.apply) if compiled else f.apply
    expected, _ = plain.apply(params, {}, None, X, keys_values=MEMORY)
    memory = MEMORY
    for t in range(0, 8, 2):
        out, state = apply(params, state, None, X[:, t : t + 2], keys_values=memory)
        np.testing.assert_allclose(out, expected[:, t : t + 2], rtol=1e-4, atol=1e-5)
        assert bool(state["a"]["is_filled"])
        memory = jnp.full_like(memory, jnp.nan)  # what is kept is used, and this is not


def test_the_gradient_through_the_first_call() -> None:
    f, plain = model(cache_size=5), model()
    params, state = _empty(f, X, keys_values=MEMORY)
    loss = lambda g, state: (
        lambda p: jnp.sum(jnp.sin(g.apply(p, state, None, X, keys_values=MEMORY)[0]))
    )
    grads = jax.jit(jax.grad(loss(f, state)))(params), jax.jit(jax.grad(loss(plain, {})))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *grads)
    traced = jax.jit(jax.grad(lambda p, s: loss(f, s)(p)))(params, state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), traced, grads[1]
    )


@pytest.mark.parametrize("options, call, match", [
    ({}, {"keys_values": MEMORY[0]}, r"keys_values of shape \(5, 10\)"),
    ({}, {"keys_values": "memory"}, "an array as its keys_values"),
    ({}, {"keys_values": MEMORY, "is_causal": True}, "keys_values and is_causal"),
    ({"window": 2}, {"keys_values": MEMORY}, "keys_values and a window"),
    ({"rotary_base": 10.0}, {"keys_values": MEMORY}, "keys_values and a rotary embedding"),
    ({"cache_size": 4}, {"keys_values": MEMORY}, "their number, 5; got 4"),
    ({"cache_size": 4, "window": 4}, {"mask": ps.causal_mask(4)}, "a mask has no order"),
    ({"cache_size": 4, "window": 4}, {"bias": jnp.ones([1, 1, 8, 4])}, "a bias has no order"),
    ({}, {"keys_values": MEMORY, "segment_ids": IDS}, "pass a pair"),
])  # fmt: skip
def test_what_does_not_fit(options: Any, call: Any, match: str) -> None:
    with pytest.raises(LayerError, match=f"GroupedQueryAttention 'a'.*{match}"):
        _empty(model(**options), X, **call)


def test_all_splits_are_there() -> None:
    assert len(splits(5)) == len(set(splits(5))) == 16
    assert set(map(sum, splits(5))) == {5}
    assert len(list(itertools.chain(*splits(2)))) == 3
