"""The nested dicts of flax, and the flat ones of purestate. Does not need flax.

A module of flax holds its own variables and those of its children in one dict, `{"w": 0, "child":
{"w": 1}}`; here every module has an entry by its path, `{"~": {"w": 0}, "child": {"w": 1}}`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from purestate._core.collection import Bundle
from purestate._core.path import ROOT

FlaxCollection = Mapping[str, Any]
"""`{name: array or FlaxCollection}`."""


def flatten_flax_to_haiku(collection: FlaxCollection) -> Bundle:
    """Turns a collection of flax, nested dicts, into dicts two deep.

    >>> import purestate as ps
    >>> ps.experimental.flax.flatten_flax_to_haiku({"w": 0, "encoder": {"linear": {"w": 1, "b": 2}}})
    {'~': {'w': 0}, 'encoder/linear': {'w': 1, 'b': 2}}

    Args:
      collection: such as `variables["params"]`.

    Returns:
      `{module: {name: array}}`. What is in no module is under `"~"`.
    """
    flat: Bundle = {}
    for parts, name, value in _variables_in(collection, ()):
        flat.setdefault("/".join(parts) or ROOT, {})[name] = value
    return flat


def _variables_in(
    collection: FlaxCollection, parts: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for name, value in collection.items():
        if isinstance(value, Mapping):
            yield from _variables_in(value, (*parts, name))
        else:
            yield parts, name, value


def nest_haiku_to_flax(bundle: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The inverse of `flatten_flax_to_haiku`."""
    collection: dict[str, Any] = {}
    for module_name, variables in bundle.items():
        nested = collection
        for part in () if module_name == ROOT else module_name.split("/"):
            nested = nested.setdefault(part, {})
        nested.update(variables)
    return collection
