"""Less time in XLA's compiler, where the suite spends most of it.

What was compiled is kept in a folder: the processes of a run share it, and the next run finds it. A
parallel run compiles with little optimization, unless it was started with `--optimize`.
"""

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax

QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
"""Takes a third of the time off."""

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


def optimize_little() -> None:
    """Has the processes that this one starts compile with little optimization."""
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    flags = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()
    # XLA ends a process that has flags which its version does not know.
    probe = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
    if not subprocess.run(
        probe, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True
    ).returncode:
        os.environ["XLA_FLAGS"] = flags
