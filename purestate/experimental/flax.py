"""Modules of flax among those of purestate, and the other way round.

flax is imported when `Module` or `lift` is first asked for, and not before.
"""

from purestate._flax.flax_collections import flatten_flax_to_haiku
from purestate._flax.on_first_use import __getattr__  # noqa: F401 (Python asks it for Module and lift)

__all__ = ["Module", "flatten_flax_to_haiku", "lift"]  # noqa: F822  # pyright: ignore[reportUnsupportedDunderAll]
