"""One safetensors file: its header, its checks, and views of its arrays."""

import importlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purestate._checkpoint.atomic import reason, write_atomically
from purestate._checkpoint.encoding import Encoded, code_of, decode, dtype_of_code, outline_of
from purestate._checkpoint.errors import CheckpointFileError, CheckpointNotFoundError
from purestate._core.errors import MissingPackageError

# Our two entries in the metadata. The first has a checksum and perhaps a note for each array, the
# second is the checksum of all the rest of the header. If one is damaged, the other shows it.
OURS = "purestate"
HEADER_CHECK = "purestate.header"
_VERSION = 1


class Entry(NamedTuple):
    """What the header says of one array."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int


def safetensors_package() -> Any:
    """Imports safetensors, which is an extra."""
    try:
        importlib.import_module("safetensors.numpy")
        return importlib.import_module("safetensors")
    except ImportError:
        raise MissingPackageError(
            "`ps.checkpoint` reads and writes files with the package safetensors, which is not"
            " installed: `pip install purestate[checkpoint]`."
        ) from None


def write_tensors(path: Path, encoded: Mapping[str, Encoded], metadata: Mapping[str, str]) -> str:
    """Writes a file atomically; returns the checksum of its header."""
    package = safetensors_package()
    shapes = {name: (code_of(x), tuple(x.shape)) for name, (x, _) in encoded.items()}
    ours = {
        "version": _VERSION,
        "crc32": {name: checksum(name, *shapes[name], x) for name, (x, _) in encoded.items()},
        "stored": {name: note for name, (_, note) in encoded.items() if note is not None},
    }
    whole = {**metadata, OURS: json.dumps(ours, ensure_ascii=False, separators=(",", ":"))}
    whole[HEADER_CHECK] = _header_checksum(shapes, whole)
    arrays = {name: x for name, (x, _) in encoded.items()}

    write_atomically(
        path, lambda file: package.numpy.save_file(arrays, file, whole), package.SafetensorError
    )
    return whole[HEADER_CHECK]


def checksum(name: str, code: str, shape: tuple[int, ...], x: np.ndarray) -> int:
    """Of the bytes of an array, and of what the header says of it."""
    return zlib.crc32(
        x.reshape(-1).view(np.uint8).data, zlib.crc32(f"{name} {code} {shape}".encode())
    )


def _header_checksum(
    shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> str:
    rest = sorted((key, text) for key, text in metadata.items() if key != HEADER_CHECK)
    text = json.dumps([sorted(shapes.items()), rest])
    return f"{zlib.crc32(text.encode()):08x}"


class TensorFile:
    """A file that is open for reading; its arrays are views of the file in memory."""

    def __init__(self, path: Path):
        self.path = path
        self._open()
        self._ours = self._checked_header()
        self.notes: dict[str, dict[str, Any]] = self._ours.get("stored", {})

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in the order in which they were saved."""
        order = self._ours.get("crc32", {})
        return [name for name in order if name in self.entries] if order else list(self.entries)

    @property
    def own_metadata(self) -> dict[str, str]:
        """What the user gave as `metadata`."""
        return {key: text for key, text in self.metadata.items() if key not in (OURS, HEADER_CHECK)}

    def outline(self, name: str) -> Any:
        """Returns shape and dtype of an array, without reading it."""
        entry = self.entries[name]
        return outline_of(entry.shape, self._dtype(name), self.notes.get(name))

    def read(self, name: str, *, check: bool = True) -> Any:
        """Returns an array: a view of the file, or random keys."""
        entry = self.entries[name]
        raw = self._bytes[entry.start : entry.stop]
        stored = raw.view(self._dtype(name)).reshape(entry.shape)
        expected = self._ours.get("crc32", {}).get(name)
        if check and expected not in (None, checksum(name, entry.code, entry.shape, stored)):
            raise self.damaged(f"The bytes of {name!r} have changed since they were written")
        return decode(stored, self.notes.get(name))

    def damaged(self, what: str) -> CheckpointFileError:
        """The error for a damaged file."""
        return CheckpointFileError(
            f"{str(self.path)!r} is damaged. {what}. Copy the file again, or load an older one."
        )

    def _dtype(self, name: str) -> np.dtype[Any]:
        code = self.entries[name].code
        dtype = dtype_of_code(code)
        if dtype is None:
            raise CheckpointFileError(
                f"{str(self.path)!r}: {name!r} has the dtype {code}, which purestate cannot read."
                " To load the other arrays, pass only=..."
            )
        return dtype

    def _open(self) -> None:
        package = safetensors_package()
        while True:
            try:
                with open(self.path, "rb") as file:
                    before = os.fstat(file.fileno())
                    header = package.safe_open(self.path, framework="numpy")
                    after = os.stat(self.path)
                    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino):
                        continue  # replaced in between; the header is of another file than `file`
                    self._read_header(header, before.st_size)
                    self._bytes = np.memmap(file, np.uint8, mode="r")
                    return
            except FileNotFoundError:
                raise CheckpointNotFoundError(
                    f"The file {str(self.path)!r} does not exist. Check the path."
                ) from None
            except OSError as error:
                raise CheckpointFileError(
                    f"{str(self.path)!r} cannot be read: {reason(error)}."
                ) from error
            except package.SafetensorError as error:
                raise self.damaged(f"safetensors says: {str(error).rstrip('.')}") from error

    def _read_header(self, header: Any, size: int) -> None:
        # The format has no gaps, so the arrays lie one after the other up to the end of the file.
        self.metadata: dict[str, str] = header.metadata() or {}
        self.entries: dict[str, Entry] = {}
        start = 0
        for name in header.offset_keys():
            array = header.get_slice(name)
            code, shape = array.get_dtype(), tuple(array.get_shape())
            dtype = dtype_of_code(code)
            bits = _OTHER_BITS.get(code, 8) if dtype is None else 8 * dtype.itemsize
            stop = start + math.prod(shape) * bits // 8
            self.entries[name] = Entry(code, shape, start, stop)
            start = stop
        self.entries = {
            name: entry._replace(start=entry.start + size - start, stop=entry.stop + size - start)
            for name, entry in self.entries.items()
        }

    def _checked_header(self) -> dict[str, Any]:
        """Returns our entry of the metadata; an empty one for a file from elsewhere."""
        if OURS not in self.metadata and HEADER_CHECK not in self.metadata:
            return {}
        shapes = {name: (entry.code, entry.shape) for name, entry in self.entries.items()}
        if self.metadata.get(HEADER_CHECK) != _header_checksum(shapes, self.metadata):
            raise self.damaged("Its header has changed since it was written")
        ours = json.loads(self.metadata[OURS])
        if ours["version"] > _VERSION:
            raise CheckpointFileError(
                f"{str(self.path)!r} was written by a newer version of purestate. Install that one:"
                " `pip install --upgrade purestate`."
            )
        return ours


_OTHER_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
