"""A checkpoint on disk: the entries of its index, and the bytes of its tensors."""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np

from purestate._checkpoint.atomic import reason
from purestate._checkpoint.errors import CheckpointFileError, CheckpointNotFoundError
from purestate._tf_checkpoint import slices
from purestate._tf_checkpoint.crc32c import masked_crc32c
from purestate._tf_checkpoint.dtypes import STRING, dtype_name, numpy_dtype
from purestate._tf_checkpoint.messages import Entry, read_entry, read_header
from purestate._tf_checkpoint.paths import data_file, find_prefix, read_file
from purestate._tf_checkpoint.strings import read_strings
from purestate._tf_checkpoint.table import read_table
from purestate._tf_checkpoint.wire import Damage


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An open checkpoint.

    Attributes:
      prefix: its path without the endings of its files.
      shards: the number of its data files.
      entries: the place of each tensor, by key.
      parts: the same for the parts of tensors that are stored in parts.
    """

    prefix: str
    shards: int
    entries: dict[str, Entry]
    parts: dict[bytes, Entry]

    def shape_and_dtype(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        """Returns what `read` will return, without reading it."""
        entry = self.entries[key]
        dtype = np.dtype(object) if entry.dtype == STRING else numpy_dtype(entry.dtype)
        if dtype is None:
            raise self._no_dtype(key, entry)
        return entry.shape, dtype

    def read(self, key: str) -> np.ndarray:
        """Returns a tensor; texts are an array of `bytes`."""
        entry = self.entries[key]
        if not entry.slices:
            return self._tensor(key, entry)
        shape, dtype = self.shape_and_dtype(key)
        whole = np.empty(shape, dtype)
        covered = np.zeros(shape, bool)
        for part in entry.slices:
            there = slices.as_index(part)
            stored = self.parts.get(slices.encode_key(key, part))
            if stored is None or stored.slices or stored.shape != whole[there].shape:
                raise self._damaged(key, f"its part {slices.show(part)} is missing")
            whole[there] = self._tensor(key, stored)
            covered[there] = True
        if not covered.all():
            raise self._damaged(key, "its parts are not all of it")
        return whole

    def raw(self, entry: Entry) -> bytes:
        """Returns the bytes of a tensor as they are, unchecked."""
        path = data_file(self.prefix, entry.shard, self.shards)
        try:
            with open(path, "rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except FileNotFoundError:
            raise CheckpointNotFoundError(
                f"The data file {path!r} is missing. Copy all"
                " files whose names begin as the index does."
            ) from None
        except OSError as error:
            raise CheckpointFileError(f"{path!r} cannot be read: {reason(error)}.") from error
        if len(data) != entry.size:
            raise CheckpointFileError(
                f"{path!r} is cut off: a tensor has {entry.size} bytes from {entry.offset} on, and"
                f" the file has {len(data)} of them."
            )
        return data

    def raw_checked(self, key: str) -> bytes:
        """Returns the bytes of a whole tensor, with their checksum checked."""
        entry = self.entries[key]
        data = self.raw(entry)
        if entry.dtype == STRING:
            self._tensor(key, entry)
        elif masked_crc32c(data) != entry.crc:
            raise self._damaged(key, "its checksum does not fit its bytes")
        return data

    def _tensor(self, key: str, entry: Entry) -> np.ndarray:
        data = self.raw(entry)
        if entry.dtype == STRING:
            try:
                texts, crc = read_strings(data, entry.shape, entry.elements)
            except Damage as error:
                raise self._damaged(key, str(error)) from None
            if crc != entry.crc:
                raise self._damaged(key, "its checksum does not fit its bytes")
            return texts
        dtype = numpy_dtype(entry.dtype)
        if dtype is None:
            raise self._no_dtype(key, entry)
        if masked_crc32c(data) != entry.crc:
            raise self._damaged(key, "its checksum does not fit its bytes")
        if entry.elements * dtype.itemsize != entry.size:
            raise self._damaged(
                key, f"it has {entry.size} bytes, and {dtype} of shape {entry.shape} has others"
            )
        return np.frombuffer(bytearray(data), dtype).reshape(entry.shape)

    def _damaged(self, key: str, why: str) -> CheckpointFileError:
        return CheckpointFileError(
            f"The tensor {key!r} of the checkpoint {self.prefix!r} is damaged: {why}."
        )

    def _no_dtype(self, key: str, entry: Entry) -> CheckpointFileError:
        return CheckpointFileError(
            f"The tensor {key!r} of the checkpoint {self.prefix!r} has the dtype"
            f" {dtype_name(entry.dtype)} of TensorFlow, which NumPy does not have."
        )


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Reads the index of a checkpoint; see `find_prefix` for what the path may be."""
    prefix = find_prefix(path)
    index = prefix + ".index"
    try:
        table = read_table(read_file(index))
        if b"" not in table:
            raise Damage("it has no header")
        shards = read_header(table.pop(b""))
        parts: dict[bytes, Entry] = {}
        entries: dict[str, Entry] = {}
        for key, entry in _read_entries(table, shards):
            if slices.is_part(key):
                parts[key] = entry
            else:
                entries[key.decode()] = entry
    except (Damage, UnicodeDecodeError) as error:
        why = "a name is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise CheckpointFileError(
            f"The index {index!r} of a checkpoint is damaged, or no index: {why}."
        ) from None
    return Bundle(prefix, shards, entries, parts)


def _read_entries(table: dict[bytes, bytes], shards: int) -> Iterator[tuple[bytes, Entry]]:
    for key, message in table.items():
        entry = read_entry(message)
        if entry.shard >= shards:
            raise Damage(f"a tensor is in data file {entry.shard} of {shards}")
        yield key, entry
