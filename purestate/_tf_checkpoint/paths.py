"""Which files a checkpoint has: its prefix, its index and its data files."""

import ast
import os
import re
from pathlib import Path

from purestate._checkpoint.atomic import reason
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from purestate._core.errors import kind_of

_STATE_FILE = "checkpoint"
_LATEST = re.compile(r'^\s*model_checkpoint_path\s*:\s*("(?:[^"\\]|\\.)*")\s*$', re.MULTILINE)
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")


def find_prefix(path: str | os.PathLike[str]) -> str:
    """Returns the prefix of a checkpoint, given that, one of its files or a folder."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise CheckpointError(
            f"`prefix` must be a path, such as 'checkpoints/ckpt-1', but is {kind_of(path)}."
        ) from None
    if os.path.isfile(text + ".index"):
        return text
    if os.path.isdir(text):
        return _latest_in(Path(text))
    if os.path.isfile(text):
        if os.path.basename(text) == _STATE_FILE:
            return _latest_in(Path(text).parent)
        if text.endswith(".index"):
            return text.removesuffix(".index")
        if _DATA.search(text):
            return _DATA.sub("", text)
    raise CheckpointNotFoundError(
        f"The checkpoint {text!r} does not exist: it would have an index {text + '.index'!r}."
        f"{_there_are(Path(text).parent)}"
    )


def data_file(prefix: str, shard: int, shards: int) -> str:
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def read_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"The file {path!r} of a checkpoint is missing.") from None
    except OSError as error:
        raise CheckpointFileError(f"{path!r} cannot be read: {reason(error)}.") from error


def _latest_in(folder: Path) -> str:
    """Returns the checkpoint that the state file calls the latest, or the only one there is."""
    state = folder / _STATE_FILE
    if state.is_file():
        text = read_file(str(state)).decode("utf-8", "replace")
        found = _LATEST.search(text)
        if found is None:
            raise CheckpointFileError(
                f"{str(state)!r} does not say which checkpoint is the latest. Pass the prefix"
                f" itself.{_there_are(folder)}"
            )
        latest = str(folder / ast.literal_eval(found[1]))
        moved = folder / os.path.basename(latest)  # the folder may be a copy of another one
        for prefix in (latest, str(moved)):
            if os.path.isfile(prefix + ".index"):
                return prefix
        raise CheckpointNotFoundError(
            f"{str(state)!r} says that the latest checkpoint is {latest!r}, whose index does not"
            f" exist.{_there_are(folder)}"
        )
    prefixes = _prefixes(folder)
    if len(prefixes) == 1:
        return str(folder / prefixes[0])
    what = "no checkpoint" if not prefixes else "no file 'checkpoint' that names the latest one"
    raise CheckpointNotFoundError(f"The folder {str(folder)!r} has {what}.{_there_are(folder)}")


def _prefixes(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(each.name.removesuffix(".index") for each in folder.glob("*.index"))


def _there_are(folder: Path) -> str:
    prefixes = _prefixes(folder)
    return f" There are {', '.join(map(repr, prefixes[:8]))}." if prefixes else ""
