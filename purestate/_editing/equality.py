"""`trees_equal`: whether two trees are equal in structure, shapes, dtypes and values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.trace_guard import is_traced


def trees_equal(
    a: Any,
    b: Any,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    equal_nan: bool = False,
    weak_types: bool = False,
) -> bool | jax.Array:
    """Returns whether two trees have the same structure and equal leaves.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> one, same, other = (f.init(jax.random.key(n), jnp.ones([1, 3])) for n in (0, 0, 1))
    >>> ps.surgery.trees_equal(one, same), ps.surgery.trees_equal(one, other)
    (True, False)
    >>> ps.surgery.trees_equal(one, jax.tree.map(lambda p: p.astype(jnp.bfloat16), one))
    False

    Arrays are equal if they have the same shape, dtype and values, whether JAX or NumPy made them.
    Random keys are equal if their implementation and their data are. A Python number is only
    equal to a number of its own type, never to an array. Other leaves are compared with `==`.

    Args:
      a: a tree.
      b: a tree.
      rtol: the difference between floating-point numbers that is allowed, relative to `b`.
      atol: the absolute difference that is allowed beside it.
      equal_nan: whether NaN is equal to NaN.
      weak_types: whether arrays must also agree on being weakly typed, as `jnp.asarray(1.0)` is.
        `jax.jit` compiles once more for an array that differs in nothing else.

    Returns:
      A bool. Inside `jax.jit` a traced one, unless structure, shapes or dtypes already differ.
    """
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    if not all(_same_kind(x, y, weak_types) for x, y in pairs):
        return False
    results = [_same_values(x, y, rtol, atol, equal_nan) for x, y in pairs]
    traced = [result for result in results if is_traced(result)]
    if not all(result for result in results if not is_traced(result)):
        return False
    return jnp.stack(traced).all() if traced else True


def _same_kind(x: Any, y: Any, weak_types: bool) -> bool:
    """Whether two leaves are of one kind: for arrays, whether shapes and dtypes agree."""
    if not (_is_array(x) and _is_array(y)):
        return not (_is_array(x) or _is_array(y)) and type(x) is type(y)
    if weak_types and jax.typeof(x).weak_type != jax.typeof(y).weak_type:
        return False
    return x.shape == y.shape and x.dtype == y.dtype


def _same_values(x: Any, y: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    if not _is_array(x):
        nan = equal_nan and isinstance(x, (float, complex)) and x != x and y != y
        inexact = isinstance(x, (float, complex))
        return nan or bool(x == y) or (inexact and abs(x - y) <= atol + rtol * abs(y))
    if isinstance(x, jax.ShapeDtypeStruct) or isinstance(y, jax.ShapeDtypeStruct):
        return isinstance(x, jax.ShapeDtypeStruct) and isinstance(y, jax.ShapeDtypeStruct)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    # NumPy keeps float64, which jax.numpy would round; and arrays may be on different devices.
    lib: Any = jnp if _stays_in_jax(x, y) else np
    x, y = lib.asarray(x), lib.asarray(y)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        same = (x == y).all()
    else:
        if x.dtype.itemsize < 4:  # NumPy computes little with bfloat16 and float8
            x, y = x.astype(np.float32), y.astype(np.float32)
        near = x == y
        if rtol or atol:
            # Infinities are equal or not, which `x == y` says; their difference is NaN.
            near |= lib.isclose(x, y, rtol=rtol, atol=atol)
        same = (near | (lib.isnan(x) & lib.isnan(y)) if equal_nan else near).all()
    return same if is_traced(same) else bool(same)


def _stays_in_jax(x: Any, y: Any) -> bool:
    """Whether JAX can compare two arrays: traced ones, and those on the same devices."""
    if is_traced(x) or is_traced(y):
        return True
    both = isinstance(x, jax.Array) and isinstance(y, jax.Array)
    return both and x.sharding.device_set == y.sharding.device_set


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")
