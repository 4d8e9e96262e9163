"""Converts between the nested dicts of flax and the flat dicts of purestate. Does not need flax.

A flax module has its own variables and those of its children in one dict, `{"w": 0, "child": {"w":
1}}`. In purestate every module has an entry under its path, `{"~": {"w": 0}, "child": {"w": 1}}`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from purestate._core.collection import Bundle
from purestate._core.path import ROOT

FlaxCollection = Mapping[str, Any]
"""`{name: array or FlaxCollection}`."""


def flatten_flax_to_haiku(collection: FlaxCollection) -> Bundle:
    """Converts a collection of flax, nested dicts, to `{module: {name: array}}`.

    >>> import purestate as ps
    >>> nested = {"w": 0, "encoder": {"linear": {"w": 1, "b": 2}}}
    >>> ps.experimental.flax.flatten_flax_to_haiku(nested)
    {'~': {'w': 0}, 'encoder/linear': {'w': 1, 'b': 2}}

    Args:
      collection: such as `variables["params"]`.

    Returns:
      `{module: {name: array}}`. Variables outside any module are under `"~"`.
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
