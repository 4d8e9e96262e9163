"""The names of the parameters that `ps.lora` adds, and a predicate for them."""

import dataclasses
import re
from typing import Any, NamedTuple

from purestate._core.errors import kind_of
from purestate._core.path import split_variable_path
from purestate._editing.errors import PredicateError
from purestate._editing.predicate import Predicate

_NAME = re.compile(r"(?:(.+?)_)?lora(?:_(\w+?))?_([abm])")


class LoraName(NamedTuple):
    """What the name of a parameter of `ps.lora` says.

    Attributes:
      weight: the name of the adapted weight.
      adapter: the name of the adapter; None for the one without.
      part: "a" and "b" for the two narrow matrices, "m" for the magnitude of DoRA.
    """

    weight: str
    adapter: str | None
    part: str


def lora_name(weight: str, adapter: str | None, part: str) -> str:
    """Returns the name of a part of an adapter: `lora_a`, `w_i_lora_a`, `lora_french_a`."""
    before = "" if weight == "w" else f"{weight}_"
    return f"{before}lora_{part}" if adapter is None else f"{before}lora_{adapter}_{part}"


def parse_lora_name(name: str) -> LoraName | None:
    """Returns what a name says; None for that of another parameter."""
    match = _NAME.fullmatch(name)
    return None if match is None else LoraName(match[1] or "w", match[2], match[3])


def is_adapter_name(adapter: object) -> bool:
    """Whether `lora_name` can be read back with this adapter in it."""
    return isinstance(adapter, str) and adapter.isidentifier() and "lora" not in adapter


def of_lora(adapter: str | None = None) -> Predicate:
    """Holds for the parameters that `ps.lora` added, to train or to save them without the others.

    >>> import jax.numpy as jnp, purestate as ps
    >>> params = {"linear": {"w": jnp.ones([3, 2]), "lora_a": jnp.ones([3, 1])}}
    >>> adapters, base = ps.data_structures.partition(ps.surgery.of_lora(), params)
    >>> list(adapters["linear"]), list(base["linear"])
    (['lora_a'], ['w'])

    Args:
      adapter: only those of `ps.lora(rank, adapter=adapter)`; None for those of all.

    Returns:
      A predicate.

    Raises:
      PredicateError: `adapter` is not the name of an adapter.
    """
    if adapter is not None and not is_adapter_name(adapter):
        raise PredicateError(
            "of_lora takes the name that `ps.lora` received as `adapter`, such as 'french', but got"
            f" {kind_of(adapter)}: {adapter!r}."
        )
    description = "of_lora()" if adapter is None else f"of_lora({adapter!r})"
    return Predicate(_OfLora(adapter), description=description)


@dataclasses.dataclass(frozen=True)
class _OfLora:
    adapter: str | None

    def __call__(self, path: str, leaf: Any) -> bool:
        parsed = parse_lora_name(split_variable_path(path)[1])
        return parsed is not None and self.adapter in (None, parsed.adapter)
