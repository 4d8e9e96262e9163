"""Names of arrays in a file: any tree of dicts as one flat dict, and back."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from purestate._checkpoint.errors import CheckpointError
from purestate._core.errors import kind_of
from purestate._editing.paths import key_string

# A whole part of a name that stands for something else than a key: an empty container or None, or
# an index of a tuple or list.
_EMPTY: dict[str, Any] = {"{}": dict, "()": tuple, "[]": list, "{None}": lambda: None}
_INDEX = re.compile(r"\(([0-9]+)\)|\[([0-9]+)\]")

_ESCAPED = {"%": "%25", ".": "%2E", "(": "%28", "[": "%5B", "{": "%7B", "_": "%5F"}
_PLAIN = {code: char for char, code in _ESCAPED.items()}
_CODE = re.compile("|".join(_PLAIN))

_RESERVED = "__metadata__"  # safetensors' own entry


def to_flat(tree: Any) -> dict[str, Any]:
    """Returns a tree of nested dicts as one dict, with a dot between the keys.

    >>> import purestate as ps
    >>> params = {"mlp/~/linear_0": {"w": 1, "b": 2}, "scale": {"v1.5": 3}, "empty": {}}
    >>> list(ps.checkpoint.to_flat(params))
    ['mlp/~/linear_0.w', 'mlp/~/linear_0.b', 'scale.v1%2E5', 'empty.{}']

    Only what would be ambiguous is escaped: `%25` is a percent sign and `%2E` a dot in a key.
    Tuples and lists have parts such as `(0)` and `[0]`.

    Args:
      tree: nested dicts with strings for keys, and tuples, lists and None in them. A NamedTuple,
        or a node of another class that JAX knows, counts as a dict of its fields.

    Returns:
      `{name: leaf}`. An empty dict, tuple or list, or None, has an array without elements.

    Raises:
      CheckpointError: a key is not a string, or the tree is a single leaf.
    """
    below = _children(tree, ())
    if below is None:
        raise CheckpointError(
            "to_flat takes a dict of arrays, such as params, but got"
            f" {kind_of(tree)}. Put it into a dict: {{'name': value}}."
        )
    flat: dict[str, Any] = {}
    if not (isinstance(tree, Mapping) and not tree):
        _flatten(tree, (), flat)
    return flat


def _flatten(node: Any, parts: tuple[str, ...], flat: dict[str, Any]) -> None:
    below = _children(node, parts)
    if below is None:
        name = ".".join(parts)
        flat[name if name != _RESERVED else _ESCAPED["_"] + name[1:]] = node
        return
    for part, child in below:
        _flatten(child, (*parts, part), flat)
    if not below:
        flat[".".join((*parts, _empty(node)))] = np.zeros([0], np.uint8)


def _empty(node: Any) -> str:
    if node is None:
        return "{None}"
    return "()" if isinstance(node, tuple) else "[]" if isinstance(node, list) else "{}"


def _children(node: Any, parts: tuple[str, ...]) -> list[tuple[str, Any]] | None:
    """Returns the parts of names below a node; None if it is a leaf."""
    if isinstance(node, Mapping):
        return [(_escape(key, parts), child) for key, child in node.items()]
    if isinstance(node, tuple):
        names = getattr(node, "_fields", None)
        return [
            (f"({i})" if names is None else _escape(names[i], parts), child)
            for i, child in enumerate(node)
        ]
    if isinstance(node, list):
        return [(f"[{i}]", child) for i, child in enumerate(node)]
    if node is None:
        return []
    # Any other class that JAX knows, such as one of flax or `ps.Optimizer`.
    below, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    if len(below) == 1 and not below[0][0]:
        return None
    return [(_escape(key_string(path[0]), parts), child) for path, child in below]


def _escape(key: Any, parts: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        where = f" of {'.'.join(parts)!r}" if parts else ""
        raise CheckpointError(
            f"The key {key!r}{where} is {kind_of(key)}. Names in a file are strings, so use"
            f" {str(key)!r} as the key."
        )
    escaped = key.replace("%", _ESCAPED["%"]).replace(".", _ESCAPED["."])
    if key in _EMPTY or _INDEX.fullmatch(key):
        escaped = _ESCAPED[key[0]] + escaped[1:]
    return escaped


def _unescape(part: str) -> str:
    return _CODE.sub(lambda code: _PLAIN[code[0]], part)


class _Node(dict[str, Any]):
    """An inner node while a tree is built, and so no leaf."""


def from_flat(flat: Mapping[str, Any]) -> Any:
    """Returns the tree of a flat dict: the inverse of `to_flat`.

    >>> import purestate as ps
    >>> ps.checkpoint.from_flat({"mlp/~/linear_0.w": 1, "mlp/~/linear_0.b": 2})
    {'mlp/~/linear_0': {'w': 1, 'b': 2}}

    Args:
      flat: `{name: leaf}`.

    Returns:
      Nested dicts, and tuples, lists and None if `to_flat` got some.

    Raises:
      CheckpointError: one name lies inside another one, as in "a" and "a.b".
    """
    root = _Node()
    for name, leaf in flat.items():
        *inner, last = name.split(".")
        node = root
        for part in inner:
            node = node.setdefault(part, _Node())
            if type(node) is not _Node:
                raise _clash(name, flat)
        if last in node:
            raise _clash(name, flat)
        node[last] = leaf
    return _built(root)


def _clash(name: str, flat: Mapping[str, Any]) -> CheckpointError:
    other = next(
        other for other in flat if other.startswith(name + ".") or name.startswith(other + ".")
    )
    return CheckpointError(
        f"The names {name!r} and {other!r} cannot both be in one tree: one of them would be an"
        " array and a dict. Rename one of them, or load the others with"
        " ps.checkpoint.load_safetensors(path, only=...)."
    )


def _built(node: Any) -> Any:
    if type(node) is not _Node:
        return node
    if len(node) == 1 and (only := next(iter(node))) in _EMPTY:
        return _EMPTY[only]()
    below = {part: _built(child) for part, child in node.items()}
    for kind, form in ((tuple, "({})"), (list, "[{}]")):
        indices = [form.format(i) for i in range(len(below))]
        if below and below.keys() == set(indices):
            return kind(below[index] for index in indices)
    return {_unescape(part): child for part, child in below.items()}


def keys_of(name: str) -> tuple[str, ...]:
    """Returns the keys on the way to a leaf, as JAX has them: an index is its number."""
    return tuple(
        index[1] or index[2] if (index := _INDEX.fullmatch(part)) else _unescape(part)
        for part in name.split(".")
    )


def is_empty(name: str) -> bool:
    """Whether a name stands for an empty container or None, and so not for an array."""
    return name.rpartition(".")[2] in _EMPTY
