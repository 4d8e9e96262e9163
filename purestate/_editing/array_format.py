"""Arrays in a few letters: `f32[2,3]`."""

from decimal import Decimal
from typing import Any

import numpy as np

# XLA's short names by the beginnings of numpy's names; the first match counts.
_SHORT = (("complex", "c"), ("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "s"))


def format_dtype(dtype: Any) -> str:
    """Returns XLA's short name of a dtype: `f32`, `bf16`, `s8`, `u32`, `c64`, `bool`."""
    name: str = dtype.name if hasattr(dtype, "name") else np.dtype(dtype).name
    for long, short in _SHORT:
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name


def format_array(x: Any) -> str:
    """Returns dtype and shape of an array, spec or tracer: `f32[2,3]`."""
    return f"{format_dtype(x.dtype)}[{','.join(map(str, x.shape))}]"


def format_bytes(count: int) -> str:
    """Returns a number of bytes with two decimals and a decimal unit: `1.50 KB`."""
    size = Decimal(count)  # a float would round 1.015 down
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
