"""Writes the files of a checkpoint."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from purestate._checkpoint.atomic import as_path, write_atomically
from purestate._tf_checkpoint.messages import Entry, write_entry, write_header
from purestate._tf_checkpoint.paths import data_file
from purestate._tf_checkpoint.table import write_table

Tensor = tuple[str, Entry, bytes]
"""Key, entry and bytes. The place in the entry is not read, and its checksum is that of bytes."""


def write_bundle(prefix: str, tensors: Iterable[Tensor]) -> None:
    """Writes a checkpoint with one data file; takes one tensor after the other into memory.

    The index comes last, as in TensorFlow: a new prefix is a checkpoint only once it is complete.
    """
    index = {b"": write_header(1)}

    def write_data(path: Path) -> None:
        offset = 0
        with path.open("wb") as file:
            for key, entry, data in tensors:
                placed = dataclasses.replace(
                    entry, shard=0, offset=offset, size=len(data), slices=()
                )
                index[key.encode()] = write_entry(placed)
                file.write(data)
                offset += len(data)

    write_atomically(as_path(data_file(prefix, 0, 1)), write_data)
    table = write_table(index)
    write_atomically(as_path(prefix + ".index"), lambda path: _write(path, table))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
