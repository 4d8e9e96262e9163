"""Which arrays are parameters, for those who intercept operations.

Noted only while operations are intercepted, or if a parameter is stored in another form. An array
is known by its identity, and only as long as somebody else keeps it: a value computed from a
parameter does not count.
"""

import weakref
from typing import Any

from purestate._core.path import variable_path


class _ByIdentity:
    """Notes about values, as long as they live."""

    def __init__(self) -> None:
        self._noted: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, value: Any, what: Any) -> None:
        key = id(value)

        def forget(reference: weakref.ref[Any]) -> None:
            if key in self._noted and self._noted[key][0] is reference:
                del self._noted[key]

        try:
            self._noted[key] = (weakref.ref(value, forget), what)
        except TypeError:  # a Python scalar
            return

    def of(self, value: Any) -> Any:
        noted = self._noted.get(id(value))
        return None if noted is None or noted[0]() is not value else noted[1]


_names = _ByIdentity()  # the path of a module and the name of a parameter
_stored = _ByIdentity()  # the form that a parameter is stored in


def note_parameter(value: Any, path: str, name: str) -> None:
    """Remembers that `value` is what the module at `path` has read as parameter `name`."""
    _names.note(value, (path, name))


def note_stored(value: Any, stored: Any) -> None:
    """Remembers that the array `value` was made of a parameter that is stored in another form."""
    _stored.note(value, stored)


def note_same_parameter(value: Any, old: Any) -> Any:
    """Remembers that `value` is the parameter `old` in another form, and returns `value`."""
    for noted in (_names, _stored):
        known = noted.of(old)
        if known is not None and value is not old:
            noted.note(value, known)
    return value


def parameter_names(value: Any) -> tuple[str, str] | None:
    """Returns the path and the name of the parameter `value`; None for other values."""
    return _names.of(value)


def stored_form(value: Any) -> Any:
    """Returns the form in which the parameter `value` is stored; None if it is stored as it is."""
    return _stored.of(value)


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
