"""Keeps a test process small: JAX holds on to every program it has compiled, which adds up to gigabytes."""

import ctypes
import gc
import os
from pathlib import Path

import jax

LIMIT = 1.6e9
"""Bytes in memory above which the caches are cleared. One test adds up to 1 GB."""

STATISTICS = Path("/proc/self/statm")


def bytes_in_memory() -> int:
    """Returns what this process holds in memory, or 0 where the system does not say."""
    if not STATISTICS.exists():
        return 0
    return int(STATISTICS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def clear_caches() -> None:
    """Drops what JAX has compiled, and gives the memory back to the system."""
    jax.clear_caches()
    gc.collect()
    # glibc keeps freed memory unless asked to return it.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def keep_small(limit: float = LIMIT) -> bool:
    """Clears the caches if this process has grown past `limit`; returns whether it did."""
    if grown := bytes_in_memory() > limit:
        clear_caches()
    return grown
