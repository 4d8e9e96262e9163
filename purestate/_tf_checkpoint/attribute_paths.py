"""The keys of a checkpoint, and the paths of attributes that they stand for."""

import re

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ESCAPED = re.compile(r"\.([.S])")
_PARTS = re.compile(r"(?:[^/\\]|\\.)+", re.DOTALL)


def attribute_path(key: str) -> str:
    r"""Returns the path of a key; the key of anything but a variable is its own path.

    >>> print(attribute_path("model/heads/a.Sb/w/.ATTRIBUTES/VARIABLE_VALUE"))
    model/heads/a\/b/w
    """
    if not key.endswith(_VALUE):
        return key
    parts = key.removesuffix(_VALUE).split("/")
    return join_path([_unescaped(part) for part in parts])


def _unescaped(part: str) -> str:
    return _ESCAPED.sub(lambda found: "/" if found[1] == "S" else ".", part)


def join_path(names: list[str]) -> str:
    """Joins names of attributes to a path."""
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in names)


def split_path(path: str) -> list[str]:
    """Splits a path into names of attributes."""
    return [re.sub(r"\\(.)", r"\1", part) for part in _PARTS.findall(path)]


def variable_key(names: list[str]) -> str:
    """Returns the key that TensorFlow gives the variable at these attributes."""
    return "/".join(name.replace(".", "..").replace("/", ".S") for name in names) + _VALUE
