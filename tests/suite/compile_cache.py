"""Keeps what XLA has compiled in a folder: the processes of a run share it, and the next run finds it.

Nearly all the time of the suite is spent in XLA's compiler, on programs that many tests have in common.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax

FOLDER = Path(__file__).parents[2] / ".jax_cache"


def processor() -> str:
    """Returns a name for what this processor can do: compiled code of another one may not run on it."""
    info = Path("/proc/cpuinfo")
    can_do = [platform.machine(), platform.processor()]
    if info.exists():
        can_do += {line for line in info.read_text().splitlines() if line.startswith("flags")}
    return hashlib.sha256("\n".join(can_do).encode()).hexdigest()[:12]


def share_compiled() -> None:
    """Has this process keep what it compiles, unless whoever runs it has said where to.

    Processes that tests start do without: JAX warns of an entry that another process is writing at
    that moment, or was when it was killed, and compiles again. Here that warning is ignored.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(FOLDER / processor()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
