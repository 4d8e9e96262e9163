"""Products of matrices, and looking up vectors in them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from purestate._core.frame import ambient
from purestate._core.hooks import OPERATION
from purestate._ops.inlined import is_staged
from purestate._ops.operation import operation

DimensionNumbers = tuple[
    tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]
]
"""((summed axes of lhs, of rhs), (batch axes of lhs, of rhs)); see `jax.lax.dot_general`."""


@operation("dot_general", operands=2)
def dot_general(
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: DimensionNumbers | None = None,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Returns a product of two arrays over some of their axes.

    Operands of two dtypes are brought to one first.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.ops.dot_general(jnp.ones([2, 3]), jnp.ones([3, 4])).shape
    (2, 4)

    Args:
      lhs: `[..., D]`, usually the input.
      rhs: `[D, ...]`, usually the weight.
      dimension_numbers: `((summed axes of lhs, of rhs), (batch axes of lhs, of rhs))`; None for the
        last axis of `lhs` and the first of `rhs`.
      precision: see `jax.lax.dot_general`.
      preferred_element_type: the dtype to sum in and to return; None for that of the operands.
      out_sharding: the sharding of the result on a mesh with explicit axes, a `PartitionSpec` or a
        `NamedSharding`; None if only one fits.

    Returns:
      The batch axes, then the other axes of `lhs`, then those of `rhs`.
    """
    if dimension_numbers is None:
        dimension_numbers = (((lhs.ndim - 1,), (0,)), ((), ()))
        if rhs.ndim <= 2 and preferred_element_type is None:  # what jnp.dot is for
            if lhs.dtype != rhs.dtype or not is_staged():
                return jnp.dot(lhs, rhs, precision=precision, out_sharding=out_sharding)
            preferred_element_type = lhs.dtype  # as jnp.dot does
    if lhs.dtype != rhs.dtype:
        common: Any = jnp.promote_types(lhs.dtype, rhs.dtype)
        lhs, rhs = lax.convert_element_type(lhs, common), lax.convert_element_type(rhs, common)
    return lax.dot_general(
        lhs, rhs, dimension_numbers, precision, preferred_element_type, out_sharding=out_sharding
    )


def einsum(
    equation: str,
    lhs: jax.Array,
    rhs: jax.Array,
    precision: lax.PrecisionLike = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Returns `jnp.einsum` of two operands; the product in it is a `dot_general`."""
    for hook in ambient.get()[1]:
        if hook.event == OPERATION:
            return _einsum_by_product(equation, lhs, rhs, precision, out_sharding)
    return jnp.einsum(equation, lhs, rhs, precision=precision, out_sharding=out_sharding)


def with_axes_in_order(out_sharding: Any, places: Sequence[int]) -> Any:
    """Returns the sharding of an array whose axes are those of another, at these places of it."""
    if out_sharding is None:
        return None
    if isinstance(out_sharding, NamedSharding):
        return NamedSharding(out_sharding.mesh, with_axes_in_order(out_sharding.spec, places))
    parts = [*out_sharding, *[None] * len(places)]
    return PartitionSpec(*(parts[place] for place in places))


def _einsum_by_product(
    equation: str, lhs: jax.Array, rhs: jax.Array, precision: lax.PrecisionLike, out_sharding: Any
) -> jax.Array:
    """The same as one product: first what only one operand sums, the order at the end."""
    shapes = jax.eval_shape(lambda a, b: jnp.einsum(equation, a, b), lhs, rhs)
    x, w, out = _letters(equation, lhs.ndim, rhs.ndim)
    if len(set(x)) < len(x) or len(set(w)) < len(w) or 1 in _sizes_that_differ(x, w, lhs, rhs):
        # A diagonal, or an axis of size 1 that broadcasts: no single product.
        return jnp.einsum(equation, lhs, rhs, precision=precision, out_sharding=out_sharding)
    lhs, x = _summed_alone(lhs, x, w + out)
    rhs, w = _summed_alone(rhs, w, x + out)
    batch = [a for a in x if a in w and a in out]
    summed = [a for a in x if a in w and a not in out]
    numbers = tuple(
        (tuple(x.index(a) for a in group), tuple(w.index(a) for a in group))
        for group in (summed, batch)
    )
    order = batch + [a for a in x if a not in w] + [a for a in w if a not in x]
    sharding = with_axes_in_order(out_sharding, [out.index(a) for a in order])
    product = dot_general(
        lhs,
        rhs,
        numbers,  # pyright: ignore[reportArgumentType]
        precision,
        None,
        sharding,
    )
    return lax.transpose(product, tuple(order.index(a) for a in out)).reshape(shapes.shape)


def _letters(equation: str, *ndims: int) -> list[str]:
    """The letter of each axis of the operands and of the result, with letters for `...`."""
    inputs, _, out = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in equation]
    more = [
        ndim - len(term.replace("...", "")) if "..." in term else 0
        for term, ndim in zip(terms, ndims, strict=True)
    ]
    dots = "".join(free[: max(more)])
    letters = [
        term.replace("...", dots[len(dots) - n :]) for term, n in zip(terms, more, strict=True)
    ]
    return [*letters, out.replace("...", dots)]


def _sizes_that_differ(x: str, w: str, lhs: jax.Array, rhs: jax.Array) -> set[int]:
    return {
        size
        for i, a in enumerate(x)
        if a in w and lhs.shape[i] != rhs.shape[w.index(a)]
        for size in (lhs.shape[i], rhs.shape[w.index(a)])
    }


def _summed_alone(operand: jax.Array, letters: str, others: str) -> tuple[jax.Array, str]:
    """Sums the axes that are in no other term."""
    alone = tuple(i for i, a in enumerate(letters) if a not in others)
    if not alone:
        return operand, letters
    return jnp.sum(operand, alone), "".join(a for a in letters if a in others)


@operation("embedding_lookup", operands=2)
def embedding_lookup(table: jax.Array, ids: jax.Array, out_sharding: Any = None) -> jax.Array:
    """Returns the vectors of a table that ids say.

    >>> import jax.numpy as jnp, purestate as ps
    >>> table = jnp.array([[0.0, 0.0], [1.0, 2.0]])
    >>> ps.ops.embedding_lookup(table, jnp.array([1, 0, 1])).tolist()
    [[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]]

    Args:
      table: `[V, D]`.
      ids: integers of any shape. As everywhere in JAX, one that is too large is taken for the
        largest.
      out_sharding: see `dot_general`.

    Returns:
      `[*ids.shape, D]`.
    """
    if out_sharding is not None:
        return jnp.asarray(table).at[ids,].get(out_sharding=out_sharding)
    return jnp.asarray(table)[ids,]


@operation("embedding_lookup", operands=2)
def rows_or_nan(table: jax.Array, ids: jax.Array, out_sharding: Any = None) -> jax.Array:
    """Returns the vectors of a table that ids say; NaN for an id that is too large."""
    if out_sharding is not None:
        return table.at[ids].get(mode="fill", out_sharding=out_sharding)
    return jnp.take(table, ids, axis=0, mode="fill")
