"""What a `with ps.lora(...)` block adds to each weight, and the parameters for it."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._core.current import current_name
from purestate._core.keyed_initializers import as_initializer
from purestate._core.rng import (
    maybe_get_rng_sequence_state,
    next_rng_key,
    replace_rng_sequence_state,
    with_rng,
)
from purestate._core.variables import Initializer
from purestate._editing.lora_names import lora_name
from purestate._layers.errors import LayerError
from purestate._layers.initializers import TruncatedNormal
from purestate._layers.low_rank import Chosen, Split, lengths, product, with_magnitude
from purestate._layers.param_dtype import get_parameter_kept_in


def _drawn_aside(init: Any, name: str) -> Initializer:
    """Has `init` draw from a key of its own.

    All other parameters get the values that they get without it.
    """
    init = as_initializer(init)

    def draw(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        before = maybe_get_rng_sequence_state()
        # That of a `w` depends on the path only; several weights of a module differ by their names.
        place = current_name() if name == "lora_a" else f"{current_name()}/{name}"
        key = jax.random.fold_in(next_rng_key(), zlib.crc32(place.encode()))
        if before is not None:
            replace_rng_sequence_state(before)
        with with_rng(key):
            return init(shape, dtype)

    return draw


def lora_scale(caller: str, alpha: float | None, rank: int, rank_stabilized: bool) -> float:
    """Returns what the product of the factors is multiplied with."""
    if alpha is None and rank_stabilized:
        raise LayerError(
            f"{caller}: rank_stabilized makes the factor alpha / sqrt(rank), and needs alpha; None"
            " stands for the factor 1. Pass such as alpha=16."
        )
    if alpha is None:
        return 1.0
    return float(alpha / np.sqrt(rank)) if rank_stabilized else alpha / rank


class Factors(NamedTuple):
    """The parameters of one adapter for one weight; `m` is None without DoRA."""

    a: jax.Array
    b: jax.Array
    m: jax.Array | None


class Settings(NamedTuple):
    """The arguments of `ps.lora`.

    Attributes:
      rank: of the two factors.
      scale: what their product is multiplied with.
      a_init: the initializer of A; None for the default.
      param_dtype: of the parameters; None for that of the input.
      dora: whether there are magnitudes.
      adapters: the names of the adapters; None stands for the one without a name.
      which: the index of the adapter in use, or one for each example; None if there is only one.
    """

    rank: int
    scale: float
    a_init: Initializer | None
    param_dtype: DTypeLike | None
    dora: bool
    adapters: tuple[str | None, ...]
    which: jax.Array | None

    def factors(self, weight: str, split: Split, w: jax.Array, dtype: Any) -> list[Factors]:
        """Returns the parameters of each adapter, which belong to the running module."""
        return [self._factors(weight, split, w, dtype, adapter) for adapter in self.adapters]

    def _factors(
        self, weight: str, split: Split, w: jax.Array, dtype: Any, adapter: str | None
    ) -> Factors:
        def get(part: str, init: Any) -> jax.Array:
            name = lora_name(weight, adapter, part)
            if part == "a":
                init = _drawn_aside(init, name)
            shape = split.shape_of(part, self.rank)
            return get_parameter_kept_in(self.param_dtype, name, shape, dtype, init)

        stddev = 1.0 / np.sqrt(self.rank if split.fan_in is None else split.fan_in)
        a = get("a", self.a_init or TruncatedNormal(stddev=stddev))
        b = get("b", jnp.zeros)

        def lengths_of_w(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
            return lengths(w, shape).astype(dtype)

        return Factors(a, b, get("m", lengths_of_w) if self.dora else None)

    def weight(self, split: Split, w: jax.Array, factors: Factors) -> jax.Array:
        """Returns a weight with what one adapter adds to it."""
        changed = w + (product(split, factors.a, factors.b) * self.scale).astype(w.dtype)
        return changed if factors.m is None else with_magnitude(changed, factors.m)

    def side_by_side(
        self, split: Split, all_factors: list[Factors]
    ) -> tuple[tuple[jax.Array, jax.Array], Chosen | None]:
        """Returns the factors of all adapters as two, and which part of their rank is in use."""
        if self.which is None:
            return (all_factors[0].a, all_factors[0].b), None
        a = jnp.concatenate([factors.a for factors in all_factors], split.rank_axis("a"))
        b = jnp.concatenate([factors.b for factors in all_factors], split.rank_axis("b"))
        weights = jax.nn.one_hot(self.which, len(all_factors), dtype=a.dtype)
        return (a, b), Chosen(jnp.repeat(weights, self.rank, axis=-1))

    def select(
        self,
        compute: Callable[[jax.Array], jax.Array],
        split: Split,
        w: jax.Array,
        all_factors: list[Factors],
        example_axis: int,
    ) -> jax.Array:
        """Returns `compute(weight)` with the weight of the adapter in use, for each example."""
        if self.which is None:
            return compute(self.weight(split, w, all_factors[0]))
        out = compute(w)
        for i, factors in enumerate(all_factors):
            is_it = self.which == i
            if is_it.ndim:
                shape = [1] * out.ndim
                shape[example_axis] = is_it.shape[0]
                is_it = is_it.reshape(shape)
            out = jnp.where(is_it, compute(self.weight(split, w, factors)), out)
        return out

    def check_examples(self, place: str, size: int | None) -> None:
        """Raises unless an input has as many examples as there are indices of adapters."""
        if self.which is None or self.which.ndim == 0 or self.which.shape[0] == size:
            return
        count = self.which.shape[0]
        if size is None:
            problem = "uses its weight in parts, or before it sees an input"
        else:
            problem = f"was given an input whose axis 0 has {size}"
        raise LayerError(
            f"lora: which={self.which.shape} chooses an adapter for each of {count} examples, but"
            f" {place} {problem}. Choose one adapter for all, with a scalar, or leave the layer out"
            " with a predicate."
        )
