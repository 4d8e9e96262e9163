"""Which arrays are parameters, for those who intercept operations.

Noted only while operations are intercepted, or if a parameter is stored in another form. An array
is known by its identity, and only as long as somebody else keeps it: a value computed from a
parameter does not count.
"""

import weakref
from typing import Any

from purestate._core.path import variable_path

_read: dict[int, tuple[weakref.ref[Any], str, str]] = {}
_stored: dict[int, tuple[weakref.ref[Any], Any]] = {}


def note_parameter(value: Any, path: str, name: str) -> None:
    """Remembers that `value` is what the module at `path` has read as parameter `name`."""
    key = id(value)

    def forget(reference: weakref.ref[Any]) -> None:
        noted = _read.get(key)
        if noted is not None and noted[0] is reference:
            del _read[key]

    try:
        _read[key] = (weakref.ref(value, forget), path, name)
    except TypeError:  # a Python scalar
        return


def note_same_parameter(value: Any, old: Any) -> Any:
    """Remembers that `value` is the parameter `old` in another form, and returns `value`."""
    noted = _read.get(id(old))
    if noted is not None and noted[0]() is old:
        note_parameter(value, noted[1], noted[2])
    stored = stored_form(old)
    if stored is not None and value is not old:
        note_stored(value, stored)
    return value


def note_stored(value: Any, stored: Any) -> None:
    """Remembers that the array `value` was made of a parameter that is stored in another form."""
    key = id(value)

    def forget(reference: weakref.ref[Any]) -> None:
        noted = _stored.get(key)
        if noted is not None and noted[0] is reference:
            del _stored[key]

    _stored[key] = (weakref.ref(value, forget), stored)


def stored_form(value: Any) -> Any:
    """Returns the form in which the parameter `value` is stored; None if it is stored as it is."""
    noted = _stored.get(id(value))
    return None if noted is None or noted[0]() is not value else noted[1]


def parameter_names(value: Any) -> tuple[str, str] | None:
    """Returns the path and the name of the parameter `value`; None for other values."""
    noted = _read.get(id(value))
    return None if noted is None or noted[0]() is not value else noted[1:]


def parameters_among(operands: tuple[Any, ...], path: str) -> dict[str, int]:
    """Returns for each parameter among the operands its position.

    Those of the module at `path` are known by their name, others by their full name.
    """
    found: dict[str, int] = {}
    for position, value in enumerate(operands):
        names = parameter_names(value)
        if names is not None:
            owner, name = names
            found[name if owner == path else variable_path(owner, name)] = position
    return found
