"""Modules of flax among those of purestate, and the other way round.

flax is imported when `Module` or `lift` is first asked for, and not before.
"""

from typing import TYPE_CHECKING

from purestate._flax.errors import FlaxNotInstalledError
from purestate._flax.flax_collections import flatten_flax_to_haiku

if TYPE_CHECKING:
    from purestate._flax.flax_lift import lift
    from purestate._flax.flax_module import Module

__all__ = ["FlaxNotInstalledError", "Module", "flatten_flax_to_haiku", "lift"]
