"""What the tests of files share."""

import jax
import numpy as np


def bits(leaf):
    """A leaf as its kind, shape and bytes: equal only if nothing at all differs."""
    if hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return (
            str(jax.random.key_impl(leaf)),
            leaf.shape,
            np.asarray(jax.random.key_data(leaf)).tobytes(),
        )
    x = np.asarray(leaf)
    x = x.astype(x.dtype.newbyteorder("<")) if x.dtype.kind in "iufc" else x
    return x.dtype.name, x.shape, x.tobytes()


def same(a, b):
    """Whether two trees are equal, to the last bit; the order of keys does not count."""
    if isinstance(a, dict):
        return (
            isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        )
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a is b is None or (a is not None and b is not None and bits(a) == bits(b))
