"""Modules of flax among those of purestate, and the other way round.

flax is imported when `Module` or `lift` is first asked for, and not before.
"""

from typing import TYPE_CHECKING, Any

from purestate._flax.errors import FlaxNotInstalledError
from purestate._flax.flax_collections import flatten_flax_to_haiku

if TYPE_CHECKING:
    from purestate._flax.flax_lift import lift
    from purestate._flax.flax_module import Module

__all__ = ["FlaxNotInstalledError", "Module", "flatten_flax_to_haiku", "lift"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from purestate._flax.flax_lift import lift
        from purestate._flax.flax_module import Module
    except ModuleNotFoundError as error:
        if error.name != "flax":
            raise
        raise FlaxNotInstalledError(
            f"`purestate.experimental.flax.{name}` needs flax, which is not installed here. `pip install flax` installs it."
        ) from error
    globals().update(Module=Module, lift=lift)
    return globals()[name]
