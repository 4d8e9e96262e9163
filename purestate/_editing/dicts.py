"""Plain dicts from other mappings, and immutable mappings."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from purestate._core.config import get_config
from purestate._core.errors import kind_of
from purestate._editing.errors import BundleTypeError


class FlatMap(Mapping[str, Any]):
    """An immutable mapping, which is a pytree and can be hashed if its values can.

    It replaces a class of dm-haiku. A pickle of it loads as a dict, unless
    `config.restore_flatmap` is set.
    """

    __slots__ = ("_mapping",)

    def __init__(self, mapping: Mapping[str, Any]):
        self._mapping = dict(mapping)

    def __getitem__(self, key: str) -> Any:
        return self._mapping[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping)

    def __len__(self) -> int:
        return len(self._mapping)

    def __eq__(self, other: object) -> bool:
        return self._mapping == (other._mapping if isinstance(other, FlatMap) else other)

    def __hash__(self) -> int:
        leaves, treedef = jax.tree.flatten(self)
        return hash((treedef, tuple(leaves)))

    def __repr__(self) -> str:
        return f"FlatMap({self._mapping!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return load_flat_map, (self._mapping,)


def _keys(mapping: FlatMap) -> tuple[str, ...]:
    return tuple(sorted(mapping))


jax.tree_util.register_pytree_with_keys(
    FlatMap,
    lambda m: ([(jax.tree_util.DictKey(key), m[key]) for key in _keys(m)], _keys(m)),
    lambda keys, values: FlatMap(dict(zip(keys, values, strict=True))),
    lambda m: ([m[key] for key in _keys(m)], _keys(m)),
)


def load_flat_map(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Loads a pickled `FlatMap`."""
    return to_immutable_dict(mapping) if get_config().restore_flatmap else to_haiku_dict(mapping)


def to_haiku_dict(structure: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy in which all mappings are plain dicts. It shares only the arrays.

    >>> import types, purestate as ps
    >>> ps.data_structures.to_haiku_dict(types.MappingProxyType({"linear": {"w": [1, 2]}}))
    {'linear': {'w': [1, 2]}}

    Args:
      structure: a mapping, usually `{module: {name: array}}`.

    Returns:
      A dict.

    Raises:
      BundleTypeError: it is not a mapping.
    """
    return {key: _copy(value) for key, value in _items(structure, "to_haiku_dict")}


def _items(mapping: Any, what: str) -> Any:
    try:
        return mapping.items()
    except (AttributeError, TypeError):  # a class has no `self`
        raise BundleTypeError(
            f"{what} copies a dict, such as {{module: {{name: array}}}}, but got"
            f" {kind_of(mapping)}. For any other tree use jax.tree.map."
        ) from None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return to_haiku_dict(value)
    return jax.tree.map(lambda leaf: leaf, value)


def to_mutable_dict(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy in which all mappings are plain dicts. It shares all other values.

    >>> import purestate as ps
    >>> params = ps.data_structures.to_immutable_dict({"linear": {"w": 1}})
    >>> params = ps.data_structures.to_mutable_dict(params)
    >>> params["linear"]["w"] = 2
    >>> params
    {'linear': {'w': 2}}

    Args:
      mapping: a mapping, usually `{module: {name: array}}`.

    Returns:
      A dict.

    Raises:
      BundleTypeError: it is not a mapping.
    """
    return {
        key: to_mutable_dict(value) if isinstance(value, Mapping) else value
        for key, value in _items(mapping, "to_mutable_dict")
    }


def to_immutable_dict(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns an immutable copy; mappings in it are immutable too.

    >>> import purestate as ps
    >>> params = ps.data_structures.to_immutable_dict({"linear": {"w": 1}})
    >>> params["linear"]["w"] = 2
    Traceback (most recent call last):
        ...
    TypeError: 'FlatMap' object does not support item assignment

    Args:
      mapping: a mapping, usually `{module: {name: array}}`.

    Returns:
      A mapping, which is a pytree.

    Raises:
      BundleTypeError: it is not a mapping.
    """
    if isinstance(mapping, FlatMap):
        return mapping
    return FlatMap({
        key: to_immutable_dict(value) if isinstance(value, Mapping) else value
        for key, value in _items(mapping, "to_immutable_dict")
    })  # fmt: skip
