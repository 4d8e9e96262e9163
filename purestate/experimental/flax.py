"""flax modules inside purestate, and purestate functions as flax modules.

flax is imported on first use of `Module` or `lift`.
"""

from purestate._flax.flax_collections import flatten_flax_to_haiku
from purestate._flax.on_first_use import __dir__, __getattr__  # noqa: F401 (for Module and lift)

__all__ = [
    "Module",  # noqa: F822  # pyright: ignore[reportUnsupportedDunderAll]
    "flatten_flax_to_haiku",
    "lift",  # noqa: F822  # pyright: ignore[reportUnsupportedDunderAll]
]
