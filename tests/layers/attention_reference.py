"""Attention in float64, one head and one query after the other, and slopes of a loss by differences."""

from typing import Any

import numpy as np


def float64(x: Any) -> Any:
    return np.asarray(x, np.float64)


def weights_of(
    q: Any,
    k: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    cap: Any = None,
    is_causal: bool = False,
    window: Any = None,
) -> Any:
    """The weights `[B, H, T, S]` of `[B, T, H, K]` and `[B, S, G, K]`."""
    q, k = float64(q), float64(k)
    batch, length, heads, size = q.shape
    keys, groups = k.shape[1], k.shape[2]
    out = np.zeros([batch, heads, length, keys])
    shape = (batch, heads, length, keys)
    bias = np.broadcast_to(0.0 if bias is None else float64(bias), shape)
    mask = np.broadcast_to(True if mask is None else np.asarray(mask) != 0, shape)
    for b, h, t in np.ndindex(batch, heads, length):
        logits = k[b, :, h // (heads // groups)] @ q[b, t, h]
        logits = logits * (1 / np.sqrt(size) if scale is None else scale)
        if cap is not None:
            logits = cap * np.tanh(logits / cap)
        logits = logits + bias[b, h, t]
        s = np.arange(keys)
        seen = mask[b, h, t].copy()
        if is_causal:
            seen &= s <= t
        if window is not None:
            seen &= np.abs(s - t) < window
        if not seen.any():  # the mean of all
            out[b, h, t] = 1 / keys
            continue
        e = np.exp(logits - logits[seen].max()) * seen
        out[b, h, t] = e / e.sum()
    return out


def attention(q: Any, k: Any, v: Any, *args: Any, **options: Any) -> Any:
    """`[B, T, H, V]`."""
    weights, v = weights_of(q, k, *args, **options), float64(v)
    repeats = weights.shape[1] // v.shape[2]
    return np.einsum("bhts,bshv->bthv", weights, np.repeat(v, repeats, 2))


def slope(f: Any, args: Any, directions: Any, eps: float = 1e-6) -> float:
    """How `f` of float64 arrays changes along a direction."""
    ahead, behind = (
        f(*(float64(a) + e * float64(d) for a, d in zip(args, directions, strict=True)))
        for e in (eps, -eps)
    )
    return (ahead - behind) / (2 * eps)


def linear(params: Any, name: str, x: Any) -> Any:
    p = params[name]
    return float64(x) @ float64(p["w"]) + (float64(p["b"]) if "b" in p else 0)


def heads_of(params: Any, name: str, x: Any, size: int) -> Any:
    out = linear(params, name, x)
    return out.reshape(*out.shape[:-1], -1, size)
