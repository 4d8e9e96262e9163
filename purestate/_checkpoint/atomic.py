"""Writes a file as a whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from purestate._core.errors import kind_of


def as_path(path: Any) -> Path:
    """Returns a path as a `Path`, with links followed, so that a link stays one."""
    try:
        return Path(os.path.realpath(os.fsdecode(path)))
    except (TypeError, ValueError):
        raise CheckpointError(
            f"`path` must be a path, such as 'params.safetensors', but is {kind_of(path)}."
        ) from None


def write_atomically(
    path: Path, write: Callable[[Path], None], failure: type[Exception] = OSError
) -> None:
    """Calls `write` with a temporary path in the same folder, and then moves the file to `path`.

    `failure` is what `write` raises if it fails, besides OSError.

    However this ends, `path` is the old file or the new one: `os.replace` is one step, and the data
    are on the disk before it.
    """
    if not path.parent.is_dir():
        raise CheckpointNotFoundError(
            f"{str(path)!r} cannot be written, since its folder does not exist. Make it:"
            f" os.makedirs({str(path.parent)!r})."
        )
    temporary = path.parent / f".purestate-{secrets.token_hex(8)}.tmp"
    try:
        temporary.touch()
        mode = (path if path.is_file() else temporary).stat().st_mode
        write(temporary)
        os.chmod(temporary, mode)  # safetensors makes files that only the owner can read
        _to_disk(temporary)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _to_disk(path.parent)
    except (OSError, failure) as error:
        raise CheckpointFileError(
            f"{str(path)!r} cannot be written: {reason(error)}. The file is as it was."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """Returns why the system could not read or write a file."""
    return getattr(error, "strerror", None) or str(error).rstrip(".")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
