"""NamedTuples in the inputs and outputs of a program, which JAX writes by a registered name."""

import collections
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import jax


def register_named_tuples(*treedefs: Any) -> dict[str, tuple[str, ...]]:
    """Registers the classes of all NamedTuples in some trees; returns their names and fields."""
    classes = {cls: None for treedef in treedefs for cls in _classes(treedef)}
    for cls in classes:
        _register(cls, _name_of(cls))
    return {_name_of(cls): cls._fields for cls in classes}


def register_by_name(name: str, fields: tuple[str, ...]) -> None:
    """Registers the class of this name if its module is imported, or else one that looks like it.

    It imports nothing: a file must not choose the code that is run.
    """
    module, _, cls_name = name.rpartition(".")
    known = getattr(sys.modules.get(module), cls_name, None)
    is_same = getattr(known, "_fields", None) == fields
    if not is_same:
        known = collections.namedtuple(cls_name, fields)  # pyright: ignore[reportUntypedNamedTuple]
    _register(known, name)


def _register(cls: Any, name: str) -> None:
    with contextlib.suppress(ValueError):  # it is registered already, perhaps by its owner
        jax.export.register_namedtuple_serialization(cls, serialized_name=name)


def _classes(treedef: Any) -> Iterator[Any]:
    node = treedef.node_data()
    if node is not None and hasattr(node[0], "_fields"):
        yield node[0]
    for child in treedef.children():
        yield from _classes(child)


def _name_of(cls: type) -> str:
    # Our own have a name that stays if their file moves.
    module = "purestate" if cls.__module__.startswith("purestate.") else cls.__module__
    return f"{module}.{cls.__qualname__}"
