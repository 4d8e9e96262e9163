"""Tables: round trips, damage, and compressed blocks."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purestate._tf_checkpoint.crc32c import masked_crc32c
from purestate._tf_checkpoint.table import read_table, write_table
from purestate._tf_checkpoint.wire import Damage, write_varint
from tests.tf_checkpoint.fixtures import FOLDER

INDEXES = sorted(FOLDER.rglob("*.index"))


@pytest.mark.parametrize("path", INDEXES, ids=lambda path: path.stem)
def test_our_tables_have_what_those_of_tensorflow_have(path: Path):
    entries = read_table(path.read_bytes())
    assert b"" in entries
    assert read_table(write_table(entries)) == entries


@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=300), max_size=80))
def test_round_trip(entries: dict[bytes, bytes]):
    read = read_table(write_table(entries))
    assert read == entries
    assert list(read) == sorted(entries)


def test_many_blocks():
    entries = {b"key %06d" % i: b"v" * (i % 50) for i in range(2000)}
    data = write_table(entries)
    assert read_table(data) == entries
    assert len(data) < sum(len(k) + len(v) for k, v in entries.items())  # keys are shortened


def with_compressed_block(block: bytes, kind: int) -> bytes:
    """Returns a table with one block, whose bytes are kept as a stream of Snappy."""
    out = bytearray()

    def append(data: bytes, kind: int) -> bytes:
        handle = write_varint(len(out)) + write_varint(len(data))
        out.extend(data + bytes([kind]))
        out.extend(struct.pack("<I", masked_crc32c(data + bytes([kind]))))
        return handle

    handle = append(block, kind)
    entry = bytes([0, 1, len(handle)]) + b"z" + handle + struct.pack("<II", 0, 1)
    handles = append(struct.pack("<II", 0, 1), 0) + append(entry, 0)
    return bytes(out) + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def test_blocks_compressed_by_snappy():
    block = bytes([0, 1, 2]) + b"abb" + struct.pack("<II", 0, 1)
    stream = bytes([len(block), (len(block) - 1) << 2]) + block
    assert read_table(with_compressed_block(stream, 1)) == {b"a": b"bb"}
    assert read_table(with_compressed_block(block, 0)) == {b"a": b"bb"}
    with pytest.raises(Damage, match="unknown compression 2"):
        read_table(with_compressed_block(block, 2))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        struct.pack("<I", 9),
        bytes([1, 1, 0]) + b"a" + struct.pack("<II", 0, 1),  # shares a byte of no key
        bytes([0, 1, 9]) + b"a" + struct.pack("<II", 0, 1),  # a value beyond the block
        bytes([0, 1, 0]) + b"b" + bytes([0, 1, 0]) + b"a" + struct.pack("<II", 0, 1),  # b before a
    ],
)
def test_damaged_blocks_with_the_right_checksum(block: bytes):
    with pytest.raises(Damage):
        read_table(with_compressed_block(block, 0))


@given(st.binary(max_size=200))
def test_other_files(data: bytes):
    with pytest.raises(Damage):
        read_table(data)
