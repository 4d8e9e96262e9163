"""Imports what needs flax on first use: flax takes long to import, and may be missing."""

import sys
from typing import Any

from purestate._flax.errors import FlaxNotInstalledError

_FACADE = "purestate.experimental.flax"
_NAMES = ("Module", "lift")


def __dir__() -> list[str]:
    """Lists the names of the facade, which imports this function."""
    names = vars(sys.modules[_FACADE])
    return sorted({name for name in names if name.startswith("__")} | {*names["__all__"]})


def __getattr__(name: str) -> Any:
    """Returns `Module` or `lift`, for the facade that imports this function."""
    if name not in _NAMES:
        raise AttributeError(f"`{_FACADE}` has no attribute {name!r}.")
    try:
        from purestate._flax.flax_lift import lift
        from purestate._flax.flax_module import Module
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "flax":
            raise
        raise FlaxNotInstalledError(
            f"`{_FACADE}.{name}` needs flax, which is not installed. `pip install flax` installs"
            " it."
        ) from error
    return {"Module": Module, "lift": lift}[name]
