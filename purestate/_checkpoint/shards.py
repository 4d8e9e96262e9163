"""Several safetensors files with an index of their arrays, as Hugging Face has them."""

import contextlib
import json
import re
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purestate._checkpoint.atomic import reason, write_atomically
from purestate._checkpoint.encoding import Encoded
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from purestate._checkpoint.tensor_file import HEADER_CHECK, OURS, TensorFile, write_tensors

_INDEX_ENDING = ".index.json"
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_FILE_NAME = "model.safetensors"  # of a folder that `save_pretrained` of Hugging Face wrote


def open_tensors(path: Path) -> "TensorFile | ShardedFile":
    """Opens a file, an index, or the one of them that a folder has.

    The file counts first, as for Hugging Face. So `save_shards` can replace one by the other.
    """
    if path.is_dir():
        path = path / _FILE_NAME
    if path.name.endswith(_INDEX_ENDING):
        return ShardedFile(path)
    if not path.exists() and index_of(path).exists():
        return ShardedFile(index_of(path))
    return TensorFile(path)


def index_of(path: Path) -> Path:
    """Returns the path of the index that takes the place of a file."""
    return path.with_name(path.name + _INDEX_ENDING)


def bytes_of(size: Any) -> int:
    """Returns the number of bytes that a text such as "5GB" stands for."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMG]I?B)\s*", size.upper())
        number = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    else:
        number = size if isinstance(size, int) and not isinstance(size, bool) else 0
    if number < 1:
        raise CheckpointError(
            "`max_shard_size` must be a number of bytes, or a text such as '5GB' or '500MiB', but"
            f" is {size!r}."
        )
    return number


def save_shards(
    path: Path, encoded: Mapping[str, Encoded], metadata: Mapping[str, str], most: int | None
) -> None:
    """Saves arrays in files of at most `most` bytes; in one file if they fit into it.

    One step makes the new files count: the index is put in its place, or the single file. Only then
    the older ones go. So new files never have the names of older ones. Files that something else
    than purestate wrote stay.
    """
    groups = _groups(encoded, most)
    old = _shards_of(index_of(path))
    if len(groups) == 1:
        write_tensors(path, encoded, metadata)
        old += [index_of(path).name] if old else []
    else:
        _write_groups(path, encoded, groups, metadata)
        path.unlink(missing_ok=True)  # it would count first
    for name in old:
        with contextlib.suppress(OSError):
            path.with_name(name).unlink()


def _write_groups(
    path: Path, encoded: Mapping[str, Encoded], groups: list[list[str]], metadata: Mapping[str, str]
) -> None:
    stem = path.name.removesuffix(".safetensors")
    names = _shard_names(stem, len(groups))
    if any(path.with_name(name).exists() for name in names):
        names = _shard_names(f"{stem}-{secrets.token_hex(4)}", len(groups))
    checks = {
        name: write_tensors(path.with_name(name), {each: encoded[each] for each in group}, metadata)
        for name, group in zip(names, groups, strict=True)
    }
    shard_of = {each: name for name, group in zip(names, groups, strict=True) for each in group}
    size = sum(x.nbytes for x, _ in encoded.values())
    ours = {"headers": checks, "names": list(encoded), "metadata": dict(metadata)}
    index = {
        "metadata": {"total_size": size, OURS: ours},
        "weight_map": dict(sorted(shard_of.items())),
    }
    # Beside the metadata: whichever of the two is damaged, the other one shows it.
    text = json.dumps({**index, HEADER_CHECK: _checksum(index)}, indent=2, ensure_ascii=False)
    write_atomically(index_of(path), lambda file: _write_text(file, text))


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _shard_names(stem: str, count: int) -> list[str]:
    return [f"{stem}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]


def _groups(encoded: Mapping[str, Encoded], most: int | None) -> list[list[str]]:
    if most is None:
        return [list(encoded)]
    groups: list[list[str]] = [[]]
    room = most
    for name, (x, _) in encoded.items():
        if x.nbytes > room and groups[-1]:
            groups.append([])
            room = most
        groups[-1].append(name)
        room -= x.nbytes
    return groups


def _checksum(index: Mapping[str, Any]) -> str:
    text = json.dumps([index["metadata"], index["weight_map"]], sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _shards_of(index: Path) -> list[str]:
    """Returns the files of an index that purestate wrote."""
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
        return [name for name in found["metadata"][OURS]["headers"] if Path(name).name == name]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return []


class ShardedFile:
    """The files of an index, read like one `TensorFile`."""

    def __init__(self, path: Path):
        self.path = path
        self._index = self._read_index()
        self._ours: dict[str, Any] = self._index["metadata"].get(OURS, {})
        self._shard_of: dict[str, str] = self._index["weight_map"]
        self._files: dict[str, TensorFile] = {}

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in the order in which they were saved."""
        return self._ours.get("names") or list(self._shard_of)

    @property
    def own_metadata(self) -> dict[str, str]:
        """What the user gave as `metadata`."""
        given: dict[str, Any] = self._ours.get("metadata", self._index["metadata"])
        return {key: text for key, text in given.items() if isinstance(text, str)}

    def outline(self, name: str) -> Any:
        """Returns shape and dtype of an array, without reading it."""
        return self._file(name).outline(name)

    def read(self, name: str, *, check: bool = True) -> Any:
        """Returns an array: a view of its file, or random keys."""
        return self._file(name).read(name, check=check)

    def _file(self, name: str) -> TensorFile:
        shard = self._shard_of[name]
        if shard not in self._files:
            self._files[shard] = self._open(shard)
        file = self._files[shard]
        if name not in file.entries:
            raise self._damaged(f"{name!r} is not in {shard!r}, as it should be")
        return file

    def _open(self, shard: str) -> TensorFile:
        try:
            file = TensorFile(self.path.with_name(shard))
        except CheckpointNotFoundError:
            raise CheckpointNotFoundError(
                f"The file {shard!r}, which {str(self.path)!r} names, does not exist. Copy all"
                " files that the index names into its folder."
            ) from None
        expected = self._ours.get("headers", {}).get(shard)
        if expected not in (None, file.metadata.get(HEADER_CHECK)):
            raise self._damaged(f"{shard!r} is not the file that was saved with it")
        return file

    def _read_index(self) -> dict[str, Any]:
        try:
            index = json.loads(self.path.read_text(encoding="utf-8"))
            index["metadata"] = index.get("metadata") or {}
            files = index["weight_map"].values()
            if all(Path(name).name == name for name in files):
                is_ours = OURS in index["metadata"] or HEADER_CHECK in index
                if not is_ours or index.get(HEADER_CHECK) == _checksum(index):
                    return index
        except FileNotFoundError:
            raise CheckpointNotFoundError(
                f"The file {str(self.path)!r} does not exist. Check the path."
            ) from None
        except OSError as error:
            raise CheckpointFileError(
                f"{str(self.path)!r} cannot be read: {reason(error)}."
            ) from error
        except (ValueError, LookupError, AttributeError, TypeError):
            pass
        raise self._damaged("It must be JSON with a `weight_map` from names to files beside it")

    def _damaged(self, what: str) -> CheckpointFileError:
        return CheckpointFileError(
            f"{str(self.path)!r} is damaged. {what}. Copy its files again, or load older ones."
        )
