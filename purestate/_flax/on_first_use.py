"""Importing what needs flax when it is first asked for, and not before: flax takes long to import, and may be missing."""

from typing import Any

from purestate._flax.errors import FlaxNotInstalledError


def __getattr__(name: str) -> Any:
    """Makes `Module` and `lift` names of the module that imports this function."""
    if name not in ("Module", "lift"):
        raise AttributeError(f"`purestate.experimental.flax` has no attribute {name!r}.")
    try:
        from purestate._flax.flax_lift import lift
        from purestate._flax.flax_module import Module
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "flax":
            raise
        raise FlaxNotInstalledError(
            f"`purestate.experimental.flax.{name}` needs flax, which is not installed here. `pip"
            " install flax` installs it."
        ) from error
    return {"Module": Module, "lift": lift}[name]
