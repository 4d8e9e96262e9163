"""Convolutions as loops in float64, straight from their definition; all `[N, *spatial, C]`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps


def apply_with(make, x, **params):
    """The output of a layer in float64, with these parameters."""
    with jax.enable_x64(True):
        f = ps.transform(lambda x: make()(x))
        x = jnp.asarray(x, jnp.float64)
        (name,) = jax.eval_shape(f.init, jax.random.key(0), x)
        return np.asarray(jax.jit(f.apply)({name: params}, None, x))


def same_padding(size, kernel, stride, rate):
    """As many outputs as strides fit into the inputs; what is odd goes behind."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * rate + 1 - size)
    return total // 2, total - total // 2


def convolution(x, w, stride, rate, padding, groups=1):
    """`out[p] = sum_k x[p * stride + k * rate] w[k]`, where w is `[*kernel, C / groups, outputs]`."""
    x = np.pad(np.asarray(x, np.float64), [(0, 0), *padding, (0, 0)])
    w = np.asarray(w, np.float64)
    n = len(stride)
    kernel = w.shape[:n]
    size = [(x.shape[1 + i] - (kernel[i] - 1) * rate[i] - 1) // stride[i] + 1 for i in range(n)]
    out = np.zeros([x.shape[0], *size, w.shape[-1]])
    inputs, outputs = x.shape[-1] // groups, w.shape[-1] // groups
    for p in np.ndindex(*size):
        for k in np.ndindex(*kernel):
            pixel = x[(slice(None), *(p[i] * stride[i] + k[i] * rate[i] for i in range(n)))]
            for g in range(groups):
                to = slice(g * outputs, (g + 1) * outputs)
                out[(slice(None), *p, to)] += pixel[:, g * inputs : (g + 1) * inputs] @ w[k][:, to]
    return out


def transposed_convolution(x, w, stride, front, size):
    """Spreads each input over the outputs: `out[i * stride + k - front] += w[-1 - k] x[i]`; w is `[*kernel, outputs, C]`."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    out = np.zeros([x.shape[0], *size, w.shape[-2]])
    for i in np.ndindex(*x.shape[1:-1]):
        for k in itertools.product(*(range(n) for n in w.shape[:-2])):
            p = tuple(a * s + b - f for a, s, b, f in zip(i, stride, k, front, strict=True))
            if all(0 <= a < b for a, b in zip(p, size, strict=True)):
                flipped = tuple(n - 1 - b for n, b in zip(w.shape, k, strict=False))
                out[(slice(None), *p)] += x[(slice(None), *i)] @ w[flipped].T
    return out
