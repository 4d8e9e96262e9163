"""flax modules inside purestate, and purestate functions as flax modules.

flax is imported on first use of `Module` or `lift`.
"""

from typing import TYPE_CHECKING

from purestate._flax.flax_collections import flatten_flax_to_haiku

if TYPE_CHECKING:
    from purestate._flax.flax_lift import lift
    from purestate._flax.flax_module import Module

if not TYPE_CHECKING:
    from purestate._flax.on_first_use import __dir__, __getattr__  # noqa: F401 (for both)

__all__ = ["Module", "flatten_flax_to_haiku", "lift"]
