"""How modules and variables are named."""

import re
from typing import Any

from purestate._core.errors import ModuleNameError, kind_of

ROOT = "~"
"""The module path of variables that are made outside any module."""

FORCED = "FORCE:"
"""How `force_name` marks a name that is used unchanged, as a whole path."""

_WORD_START = re.compile(r"((?<=[a-z0-9])[A-Z]|(?!^)[A-Z](?=[a-z]))")
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NUMBERED = re.compile(r"(.*)_(0|[1-9][0-9]*)", re.DOTALL)


class _Memo(dict[str, Any]):
    """A function of one string that remembers: a hit is a dict lookup, no Python call."""

    def __init__(self, function: Any):
        super().__init__()
        self._function = function

    def __missing__(self, name: str) -> Any:
        value = self[name] = self._function(name)
        return value


def _snake_case(name: str) -> str:
    return _WORD_START.sub(r"_\1", name).lower()


def split_number(name: str) -> tuple[str, int | None]:
    """Splits `"conv_2"` into `("conv", 2)`; without a number it is None."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def _parse_name(name: str) -> tuple[str, int | None]:
    if not _IDENTIFIER.fullmatch(name):
        raise ModuleNameError(
            f"{name!r} cannot be the name of a module: it must be a Python identifier "
            "(letters, digits and underscores, not starting with a digit). "
            f"Try {re.sub('[^a-zA-Z0-9_]+', '_', name).lstrip('0123456789') or 'layer'!r}."
        )
    return split_number(name)


SNAKE_CASE = _Memo(_snake_case)
"""The default name of a module class: `SNAKE_CASE["LayerNorm"] == "layer_norm"`."""

PARSED_NAME = _Memo(_parse_name)
"""A checked module name and its number: `PARSED_NAME["conv_2"] == ("conv", 2)`."""


def child_prefix(module_name: str, method_name: str) -> str:
    """What the names of modules start with that `method_name` of `module_name` creates."""
    if method_name == "__call__":
        return f"{module_name}/"
    if method_name == "__init__":
        return f"{module_name}/~/"
    return f"{module_name}/~{method_name}/"


def check_forced(name: str) -> None:
    """Raises unless every part of a forced path is an identifier (`~` in front is fine)."""
    for part in name.split("/"):
        bare = part.removeprefix("~")
        if bare or not part:
            PARSED_NAME[bare]


def local_name(module_name: str) -> str:
    """The last part of a module's path."""
    return module_name.rpartition("/")[2]


def variable_path(module_name: str, name: str) -> str:
    """The full name of a variable, as dm-haiku writes it."""
    return f"{module_name}/{name}"


def split_variable_path(full_name: str) -> tuple[str, str]:
    """The inverse of `variable_path`."""
    module_name, _, name = full_name.rpartition("/")
    return module_name, name


def is_inside(module_name: str, outer: str) -> bool:
    """Whether `module_name` is `outer` or lies below it."""
    return module_name == outer or module_name.startswith(outer + "/")


def split_scope(name: str) -> list[str]:
    """The module names that a `name_scope` stands for, outermost first."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ModuleNameError(
            f"A name scope is called by a string, such as 'encoder', but was given {kind_of(name)}."
        )
    return [name] if name.startswith(FORCED) else name.split("/")


def outer_path(module_name: str) -> str:
    """A module's path without its last part: that of the module around it, or nothing."""
    return module_name.rpartition("/")[0]
