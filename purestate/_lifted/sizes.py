"""How many elements or steps there are, by the sizes of the arrays that are mapped over."""

import operator
from typing import Any

import jax

from purestate._core.errors import LoopError, MappingError, kind_of


def num_elements(args: Any, in_axes: Any) -> int:
    """Returns the number of elements of a `ps.vmap`; raises if the arrays do not agree on it."""

    def size(axis: int | None, arg: Any) -> list[int]:
        return [] if axis is None else [leaf.shape[axis] for leaf in jax.tree.leaves(arg)]

    # `in_axes` is a prefix of the arguments. In it None is a leaf, and not an empty tree.
    sizes = jax.tree.leaves(jax.tree.map(size, in_axes, args, is_leaf=lambda axis: axis is None))
    if not sizes:
        raise MappingError(
            "`ps.vmap` found no array to map over, so it cannot tell how many elements there are:"
            " pass axis_size."
        )
    if len(set(sizes)) > 1:
        raise MappingError(
            "`ps.vmap` was given arrays with different sizes along the mapped axis:"
            f" {sorted(set(sizes))}."
        )
    return sizes[0]


def num_steps(xs: list[Any], length: Any) -> int:
    """Returns the number of steps; raises if the arrays do not agree on it."""
    lengths: list[Any] = []
    for leaf in xs:
        try:
            lengths.append(leaf.shape[0])
        except (AttributeError, IndexError):
            what = "an array without axes" if hasattr(leaf, "shape") else kind_of(leaf)
            raise LoopError(
                f"`ps.scan` goes along the first axis of each array in xs, but xs has {what} in it."
                " What is the same in all steps the body can use as it is, from outside."
            ) from None
    if length is None and not lengths:
        raise LoopError(
            "`ps.scan` has no arrays in xs to tell the number of steps from: pass `length`."
        )
    # `length` may be a NumPy or JAX integer; a float is an error, as in JAX.
    steps = lengths[0] if length is None else operator.index(length)
    if any(size != steps for size in lengths):
        found = ", ".join(str(size) for size in dict.fromkeys(lengths))
        given = "" if length is None else f", and length={length}"
        raise LoopError(
            "`ps.scan` goes along the first axis of each array in xs, all of one length, but these"
            f" have the lengths {found}{given}."
        )
    return steps
