"""`mask=` of the norms leaves padding out of the statistics: against NumPy in float64."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate.errors import LayerError

DRAW = np.random.RandomState(0)
B, T, D = 3, 6, 4
X = DRAW.standard_normal((B, T, D)).astype(np.float32)
LENGTHS = np.array([6, 4, 1])
STEPS = (np.arange(T) < LENGTHS[:, None])[:, :, None]  # [B, T, 1]
FEATURES = np.array([True, True, False, True])  # [D]


def normalized(x: Any, mask: Any, axis: tuple[int, ...], eps: float = 1e-5) -> Any:
    x = x.astype(np.float64)
    mask = np.broadcast_to(mask, x.shape)
    count = np.maximum(mask.sum(axis, keepdims=True), 1)
    mean = np.where(mask, x, 0).sum(axis, keepdims=True) / count
    variance = np.where(mask, (x - mean) ** 2, 0).sum(axis, keepdims=True) / count
    return (x - mean) / np.sqrt(variance + eps)


def by_groups(x: Any, mask: Any) -> Any:
    mask = np.broadcast_to(mask, x.shape)
    parts = [
        normalized(x[..., part], mask[..., part], (1, 2)) for part in (slice(0, 2), slice(2, 4))
    ]
    return np.concatenate(parts, -1)


def by_squares(x: Any, mask: Any) -> Any:
    x = x.astype(np.float64)
    mask = np.broadcast_to(mask, x.shape)
    squares = np.where(mask, x**2, 0).sum(-1, keepdims=True) / mask.sum(-1, keepdims=True)
    return x / np.sqrt(squares + 1e-5)


NORMS: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any]]] = {
    "LayerNorm": (
        lambda x, mask: ps.LayerNorm(-1, True, True)(x, mask=mask),
        FEATURES,
        lambda x, mask: normalized(x, mask, (2,)),
    ),
    "LayerNorm_fast": (
        lambda x, mask: ps.LayerNorm(-1, True, True, use_fast_variance=True)(x, mask=mask),
        FEATURES,
        lambda x, mask: normalized(x, mask, (2,)),
    ),
    "InstanceNorm": (
        lambda x, mask: ps.InstanceNorm(True, True)(x, mask=mask),
        STEPS,
        lambda x, mask: normalized(x, mask, (1,)),
    ),
    "GroupNorm": (lambda x, mask: ps.GroupNorm(2)(x, mask=mask), STEPS, by_groups),
    "RMSNorm": (lambda x, mask: ps.RMSNorm(-1)(x, mask=mask), FEATURES, by_squares),
    "BatchNorm": (
        lambda x, mask: ps.BatchNorm(True, True, 0.9)(x, True, mask=mask),
        STEPS,
        lambda x, mask: normalized(x, mask, (0, 1)),
    ),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_norms(name: str, jit: bool) -> None:
    norm, mask, expected = NORMS[name]
    f = ps.transform_with_state(lambda x, mask: norm(x, mask))
    params, state = f.init(None, X, mask)
    run = jax.jit(f.apply) if jit else f.apply
    out, _ = run(params, state, None, X, mask)
    np.testing.assert_allclose(out, expected(X, mask), rtol=1e-4, atol=1e-5)
    # What is left out counts for nothing, whatever it is.
    other = np.where(np.broadcast_to(mask, X.shape), X, 1e6).astype(np.float32)
    again, _ = run(params, state, None, other, mask)
    kept = np.broadcast_to(mask, X.shape)
    np.testing.assert_allclose(np.asarray(again)[kept], np.asarray(out)[kept], rtol=1e-4, atol=1e-5)
    # Without a mask, and with one that leaves nothing out, it is the same.
    full, _ = run(params, state, None, X, np.ones_like(kept))
    plain, _ = run(params, state, None, X, None)
    np.testing.assert_allclose(full, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_gradients_of_what_is_left_out(name: str) -> None:
    norm, mask, _ = NORMS[name]
    f = ps.transform_with_state(lambda x, mask: norm(x, mask))
    params, state = f.init(None, X, mask)
    kept = np.broadcast_to(mask, X.shape)

    def loss(x: Any) -> Any:
        out, _ = f.apply(params, state, None, x, mask)
        return jnp.sum(jnp.where(kept, out, 0) * jnp.asarray(DRAW.standard_normal(X.shape)))

    grads = jax.grad(loss)(jnp.asarray(X))
    assert np.all(np.isfinite(grads))
    assert np.all(np.asarray(grads)[~kept] == 0)
    assert np.any(np.asarray(grads)[kept] != 0)


def test_a_mask_that_leaves_all_out_gives_no_nan() -> None:
    f = ps.transform(lambda x, mask: ps.LayerNorm(-1, False, False)(x, mask=mask))
    assert np.all(np.isfinite(f.apply({}, None, X, np.zeros([1, 1, 1], bool))))


def test_replicas_of_batch_norm_count_by_what_is_left() -> None:
    def make(**options: Any) -> Any:
        return ps.transform_with_state(
            lambda x, mask: ps.BatchNorm(True, True, 0.9, **options)(x, True, mask=mask)
        )

    whole, parts = make(), make(cross_replica_axis="i")
    params, state = whole.init(None, X, STEPS)
    expected, expected_state = whole.apply(params, state, None, X, STEPS)
    out, states = jax.vmap(
        lambda x, mask: parts.apply(params, state, None, x[None], mask[None]), axis_name="i"
    )(X, STEPS)
    np.testing.assert_allclose(out[:, 0], expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5),
        states,
        expected_state,
    )


@pytest.mark.parametrize("mask", [np.ones([B, T, 1]), np.ones([B, T], bool), [[1.0]]])
def test_a_mask_of_another_kind_is_an_error(mask: Any) -> None:
    f = ps.transform(lambda x: ps.LayerNorm(-1, True, True)(x, mask=mask))
    with pytest.raises(LayerError, match=r"write mask\[:, :, None\]"):
        f.init(None, X)
