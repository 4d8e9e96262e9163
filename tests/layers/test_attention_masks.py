"""Masks of attention against loops, and against flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._layers.attention_masks import (
    causal_mask,
    combine_masks,
    padding_mask,
    sliding_window_mask,
)
from purestate._layers.errors import LayerError


def by_loop(q_len, kv_len, offsets, sees):
    mask = np.zeros([len(offsets), 1, q_len, kv_len], bool)
    for b, offset in enumerate(offsets):
        for t in range(q_len):
            for s in range(kv_len):
                mask[b, 0, t, s] = sees(offset + t, s)
    return mask


OFFSETS = [(4, None, 0), (1, None, 5), (3, 8, 2), (3, 8, np.array([0, 2, 5])), (2, 4, jnp.array(1))]


@pytest.mark.parametrize("q_len, kv_len, offset", OFFSETS)
def test_causal(q_len, kv_len, offset):
    size = q_len + offset if kv_len is None else kv_len
    expected = by_loop(q_len, size, np.atleast_1d(offset), lambda p, s: s <= p)
    mask = causal_mask(q_len, kv_len, offset)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("q_len, kv_len, offset", OFFSETS)
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_sliding_window(q_len, kv_len, offset, window, causal):
    size = q_len + offset if kv_len is None else kv_len
    sees = (lambda p, s: p - window < s <= p) if causal else (lambda p, s: abs(p - s) < window)
    mask = sliding_window_mask(q_len, window, kv_len, offset, causal=causal)
    np.testing.assert_array_equal(mask, by_loop(q_len, size, np.atleast_1d(offset), sees))


def test_wide_window_is_causal():
    np.testing.assert_array_equal(sliding_window_mask(5, 5), causal_mask(5))


def test_padding():
    lengths = jnp.array([0, 2, 3])
    expected = np.array([[s < n for s in range(3)] for n in (0, 2, 3)])[:, None, None]
    np.testing.assert_array_equal(padding_mask(lengths, 3), expected)


def test_against_flax():
    lengths, tokens = jnp.array([2, 4]), jnp.ones([2, 4])
    np.testing.assert_array_equal(causal_mask(4), nn.make_causal_mask(tokens, dtype=bool)[:1])
    inside = jnp.arange(4)[None] < lengths[:, None]
    theirs = nn.combine_masks(
        nn.make_causal_mask(tokens, dtype=bool),
        nn.make_attention_mask(jnp.ones([2, 4]), inside, dtype=bool),
        dtype=bool,
    )
    np.testing.assert_array_equal(
        combine_masks(causal_mask(4), None, padding_mask(lengths, 4)), theirs
    )


def test_combine():
    assert combine_masks() is None
    assert combine_masks(None, None) is None
    mask = causal_mask(3)
    assert combine_masks(None, mask) is mask
    assert combine_masks(mask[0], mask[0]).shape == (1, 3, 3)


def test_jit_and_vmap():
    traced = jax.jit(lambda offset: causal_mask(1, 4, offset))(2)
    np.testing.assert_array_equal(traced, causal_mask(1, 4, 2))
    rows = jax.vmap(lambda offset: causal_mask(1, 4, offset)[0])(jnp.array([0, 2]))
    np.testing.assert_array_equal(rows, causal_mask(1, 4, jnp.array([0, 2])))
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        combine_masks(
            sliding_window_mask(3, 2, offset=1),
            causal_mask(3, 4, jnp.array([1])),
            padding_mask(jnp.array([3]), 4),
        )


def test_errors():
    for make in (lambda **k: causal_mask(2, **k), lambda **k: sliding_window_mask(2, 1, **k)):
        with pytest.raises(LayerError, match="kv_len has to be given"):
            make(offset=jnp.array(1))
        with pytest.raises(LayerError, match=r"\[B\]; got shape \(1, 2\)"):
            make(kv_len=3, offset=jnp.zeros([1, 2], int))
    with pytest.raises(LayerError, match="window=0"):
        sliding_window_mask(2, 0)
    with pytest.raises(LayerError, match="integers"):
        padding_mask(jnp.ones([2]), 3)
    with pytest.raises(LayerError, match=r"\[B\]"):
        padding_mask(jnp.array(2), 3)
    with pytest.raises(LayerError, match="mask != 0"):
        combine_masks(causal_mask(2), jnp.ones([1, 1, 2, 2]))
    with pytest.raises(LayerError, match=r"\[None, None\]"):
        combine_masks(causal_mask(2), jnp.ones([2, 2], bool))
    with pytest.raises(LayerError, match="do not broadcast"):
        combine_masks(causal_mask(2), causal_mask(3))
