"""Products of two narrow factors in place of a weight: their shapes, and what they do to an input.

The axes of a weight are the batch axes, which both factors have, and two groups. The factor A has
the group that comes first and B the one that comes last, so that the shapes do not depend on which
of the two an operation sums over.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purestate._layers.weight_norm import length
from purestate._ops.convolutions import conv_general_dilated

_EPS = 1e-12  # under the root of the lengths of DoRA, so that a weight of zeros gives no NaN
_RANK = "z"


class Split(NamedTuple):
    """How the axes of a weight are shared out.

    Attributes:
      shape: the shape of the weight.
      first: the axes of A.
      last: the axes of B.
      outputs: the axes of the outputs, along which the magnitudes of DoRA differ.
      fan_in: how many numbers one output of A sums; None for the rank, if A comes after B.
      as_ordered: whether the factors have the shapes of ordered axes; None if that shows.
    """

    shape: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    outputs: tuple[int, ...]
    fan_in: int | None = None
    as_ordered: bool | None = None

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes that both factors have."""
        return tuple(i for i in range(len(self.shape)) if i not in self.first + self.last)

    @property
    def is_ordered(self) -> bool:
        """Whether the batch axes come first, then those of A, then those of B."""
        if self.as_ordered is not None:
            return self.as_ordered
        return self.batch + self.first + self.last == tuple(range(len(self.shape)))

    def numbers_in_first(self) -> int:
        """Returns how many numbers a sum over the axes of A has."""
        return math.prod(self.shape[i] for i in self.first)

    def shape_of(self, part: str, rank: int) -> tuple[int, ...]:
        """The shape of a factor, or of the magnitude `"m"`.

        If the axes are ordered, A is `[*batch, *first, rank]` and B is `[*batch, rank, *last]`. If
        not, both have all axes, with ones in place of those of the other, and the rank at the end.
        """
        if part == "m":
            kept = self.batch + self.outputs
            return tuple(n if i in kept else 1 for i, n in enumerate(self.shape))
        if not self.is_ordered:
            ones = self.last if part == "a" else self.first
            return (*(1 if i in ones else n for i, n in enumerate(self.shape)), rank)
        batch, first, last = (
            tuple(self.shape[i] for i in axes) for axes in (self.batch, self.first, self.last)
        )
        return (*batch, *first, rank) if part == "a" else (*batch, rank, *last)

    def rank_axis(self, part: str) -> int:
        """The axis of the rank in a factor."""
        return len(self.batch) if part == "b" and self.is_ordered else -1

    def letters(self, part: str) -> str:
        """The axes of a factor without ones, as in an equation; each axis has its letter."""
        group = self.first if part == "a" else self.last
        axes = "".join(chr(ord("a") + i) for i in sorted(self.batch + group))
        at = len(self.batch) if part == "b" and self.is_ordered else len(axes)
        return axes[:at] + _RANK + axes[at:]

    def without_ones(self, part: str, factor: jax.Array) -> jax.Array:
        """Returns a factor with only the axes of `letters`."""
        if self.is_ordered:
            return factor
        return lax.squeeze(factor, self.last if part == "a" else self.first)


def split_of_kernel(shape: tuple[int, ...], outputs: int) -> Split:
    """B has the last axis of a kernel, which is one of channels, and A the others.

    Kernels that begin with their channels are split behind the first axis.
    """
    axes = tuple(range(len(shape)))
    at = len(shape) - 1 if outputs >= len(shape) - 2 else 1
    split = Split(shape, axes[:at], axes[at:], (outputs,))
    sums = outputs in split.last
    return split._replace(fan_in=split.numbers_in_first() if sums else None)


def split_of(
    w: Sequence[int], a: Sequence[int], b: Sequence[int], m: Sequence[int] | None
) -> Split | None:
    """Returns the split of a weight by the shapes of its factors; None if they do not fit.

    The axes of a stack of layers in front of all three are batch axes.
    """
    ndim = len(w)
    batch = len(a) + len(b) - 2 - ndim
    is_ordered = 0 <= batch < min(len(a), len(b)) - 1
    if is_ordered:
        axes = tuple(range(ndim))
        first, last = axes[batch : len(a) - 1], axes[len(a) - 1 :]
    elif len(a) == len(b) == ndim + 1:
        first, last = (
            tuple(i for i, n in enumerate(w) if mine[i] == n != others[i])
            for mine, others in ((a, b), (b, a))
        )
    else:
        return None
    kept = () if m is None else tuple(i for i, n in enumerate(m) if n != 1)
    split = Split(tuple(w), first, last, kept, as_ordered=is_ordered)
    fits = split.shape_of("a", a[-1]) == tuple(a) and split.shape_of("b", a[-1]) == tuple(b)
    if m is not None:
        fits &= len(m) == ndim and all(n in (1, size) for n, size in zip(m, w, strict=True))
    return split if fits else None


def product(split: Split, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the product of the factors, of the shape of the weight."""
    letters = "".join(chr(ord("a") + i) for i in range(len(split.shape)))
    return jnp.einsum(
        f"{split.letters('a')},{split.letters('b')}->{letters}",
        split.without_ones("a", a),
        split.without_ones("b", b),
        precision="highest",
    )


def lengths(w: jax.Array, m_shape: Sequence[int]) -> jax.Array:
    """Returns the lengths of a weight over the axes that are 1 in the magnitude."""
    return length(w, tuple(i for i, n in enumerate(m_shape) if n == 1), _EPS)


def with_magnitude(w: jax.Array, m: jax.Array) -> jax.Array:
    """Returns a weight with other lengths, whose own are constants for a gradient.

    Liu et al. 2024, arXiv:2402.09353, equation 11.
    """
    ratio = m.astype(jnp.float32) / lax.stop_gradient(lengths(w, m.shape))
    return (w * ratio).astype(w.dtype)


class Chosen(NamedTuple):
    """Which values of the rank are in use, if several adapters stand side by side.

    Attributes:
      weights: zeros and ones, `[N * rank]`, or `[B, N * rank]` for a choice per example.
    """

    weights: jax.Array

    def of(self, h: jax.Array, example_axis: int, rank_axis: int) -> jax.Array:
        """Returns `h` with zeros for the values that are not in use."""
        shape = [1] * h.ndim
        shape[rank_axis] = h.shape[rank_axis]
        if self.weights.ndim == 2:
            shape[example_axis] = self.weights.shape[0]
        weights = self.weights
        if self.weights.ndim == 2 and rank_axis % h.ndim < example_axis % h.ndim:
            weights = weights.T
        return h * weights.reshape(shape).astype(h.dtype)


class Term(NamedTuple):
    """A product of an input with a weight, as letters of an equation.

    Attributes:
      x: the axes of the input; those that the weight has too have the letters of the weight.
      out: the axes of the result.
    """

    x: str
    out: str


def term_of(x_ndim: int, w_ndim: int, w_position: int, numbers: Any) -> tuple[Term, Split | None]:
    """Returns what the dimension numbers of a product say: as letters, and which axes it sums.

    The shape in the split is left empty. It is None if the weight has no axis to sum or to keep.
    """
    x_position = 1 - w_position
    if numbers is None:
        numbers = (((x_ndim - 1,), (0,)) if w_position else ((w_ndim - 1,), (0,)), ((), ()))
    summed, batch = numbers
    w_letters = [chr(ord("a") + i) for i in range(w_ndim)]
    x_letters = [chr(ord("A") + i) for i in range(x_ndim)]
    for x_axes, w_axes in ((pair[x_position], pair[w_position]) for pair in (summed, batch)):
        for i, j in zip(x_axes, w_axes, strict=True):
            x_letters[i] = w_letters[j]
    w_summed, w_batch = (tuple(sorted(axes[w_position])) for axes in (summed, batch))
    free = tuple(i for i in range(w_ndim) if i not in w_summed + w_batch)
    free_of_x = [letter for letter in x_letters if letter.isupper()]
    free_of_w = [w_letters[i] for i in free]
    halves = (free_of_x, free_of_w) if w_position else (free_of_w, free_of_x)
    out = [w_letters[i] for i in batch[w_position]] + halves[0] + halves[1]
    term = Term("".join(x_letters), "".join(out))
    if not (w_summed and free):
        return term, None
    first, last = sorted((w_summed, free))
    return term, Split((), first, last, free)


def through_product(
    term: Term,
    split: Split,
    x: jax.Array,
    factors: tuple[jax.Array, jax.Array],
    chosen: Chosen | None,
    **options: Any,
) -> jax.Array:
    """Returns the product of an input with both factors, one after the other."""
    parts = ("a", "b")
    if any(chr(ord("a") + i) in term.x for i in split.last if i not in split.batch):
        parts = ("b", "a")  # the one that sums
    (near, near_letters), (far, far_letters) = (
        (split.without_ones(part, factors[part == "b"]), split.letters(part)) for part in parts
    )
    kept = "".join(c for c in term.x if c in term.out)
    precision = options["precision"]
    h = jnp.einsum(f"{term.x},{near_letters}->{kept}{_RANK}", x, near, precision=precision)
    if chosen is not None:
        h = chosen.of(h, 0, -1)
    sharding = options.get("out_sharding")
    return jnp.einsum(
        f"{kept}{_RANK},{far_letters}->{term.out}",
        h,
        far,
        precision=precision,
        **({} if sharding is None else {"out_sharding": sharding}),
    )


def through_lookup(
    ids: jax.Array, factors: tuple[jax.Array, jax.Array], chosen: Chosen | None
) -> jax.Array:
    """Returns for each id its vector of A, times B."""
    h = factors[0][ids,]
    if chosen is not None:
        h = chosen.of(h, 0, -1)
    return jnp.matmul(h, factors[1])


def through_convolution(
    layout: lax.ConvDimensionNumbers,
    x: jax.Array,
    factors: tuple[jax.Array, jax.Array],
    chosen: Chosen | None,
    options: dict[str, Any],
) -> jax.Array:
    """Returns the convolution with A, whose channels are then multiplied with B."""
    a, b = factors
    mine = {"dimension_numbers": layout, "preferred_element_type": None, "out_sharding": None}
    plain: Any = {**options, **mine}
    h = conv_general_dilated(x, a, **plain)
    batch, channel = layout.out_spec[:2]
    if chosen is not None:
        h = chosen.of(h, batch, channel)
    out = jnp.moveaxis(h, channel, -1)
    out = jnp.matmul(out, b, precision=options["precision"])
    return jnp.moveaxis(out, -1, channel)
