"""Sorted tables of keys and values: the format of LevelDB, which index files have.

A table is blocks, then a block with their places, and a footer with the place of that one.
A key in a block has only the part that differs from the key before it. Each block has a checksum.
"""

import struct
from collections.abc import Iterator

from purestate._tf_checkpoint.crc32c import masked_crc32c
from purestate._tf_checkpoint.snappy import decompress
from purestate._tf_checkpoint.wire import Damage, read_varint, write_varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # a byte for the compression, and four for the checksum
_UNCOMPRESSED, _SNAPPY = 0, 1
_BLOCK_SIZE = 4096
_RESTART_EVERY = 16


def read_table(data: bytes) -> dict[bytes, bytes]:
    """Returns keys and values in order, with all checksums checked."""
    if len(data) < _FOOTER:
        raise Damage(f"it has {len(data)} bytes, and so no footer")
    footer = data[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise Damage("its last bytes are not those of an index of TensorFlow")
    at = _read_handle(footer, 0)[1]
    _read_block(data, _read_handle(footer, 0)[0])  # says nothing, but has a checksum too
    entries: dict[bytes, bytes] = {}
    last: bytes | None = None
    for _, handle in _entries(_read_block(data, _read_handle(footer, at)[0])):
        for key, value in _entries(_read_block(data, _read_handle(handle, 0)[0])):
            if last is not None and key <= last:
                raise Damage("its keys are out of order")
            entries[key] = value
            last = key
    return entries


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def _read_block(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    end = offset + size
    if end + _TRAILER > len(data) - _FOOTER:
        raise Damage("a block is beyond its end")
    (stored,) = struct.unpack("<I", data[end + 1 : end + _TRAILER])
    if masked_crc32c(data[offset : end + 1]) != stored:
        raise Damage("the checksum of a block does not fit its bytes")
    if data[end] == _UNCOMPRESSED:
        return data[offset:end]
    if data[end] == _SNAPPY:
        return decompress(data[offset:end])
    raise Damage(f"a block has the unknown compression {data[end]}")


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise Damage("a block has no end")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise Damage("a block has no end")
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        new, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or at + new + size > end:
            raise Damage("an entry is beyond the end of its block")
        key = key[:shared] + block[at : at + new]
        at += new
        yield key, block[at : at + size]
        at += size


def write_table(entries: dict[bytes, bytes]) -> bytes:
    """Returns a table of keys and values, with uncompressed blocks."""
    out = bytearray()
    index: list[tuple[bytes, bytes]] = []
    block: list[tuple[bytes, bytes]] = []
    for key, value in sorted(entries.items()):
        block.append((key, value))
        if sum(len(k) + len(v) for k, v in block) >= _BLOCK_SIZE:
            index.append((key, _append_block(out, _block(block, _RESTART_EVERY))))
            block = []
    if block or not index:
        last = block[-1][0] if block else b""
        index.append((last, _append_block(out, _block(block, _RESTART_EVERY))))
    nothing = _append_block(out, _block([], 1))
    handles = nothing + _append_block(out, _block(index, 1))
    return bytes(out) + handles.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _append_block(out: bytearray, block: bytes) -> bytes:
    """Appends a block and its trailer; returns its place."""
    handle = write_varint(len(out)) + write_varint(len(block))
    whole = block + bytes([_UNCOMPRESSED])
    out += whole + struct.pack("<I", masked_crc32c(whole))
    return handle


def _block(entries: list[tuple[bytes, bytes]], restart_every: int) -> bytes:
    out = bytearray()
    restarts = [0]
    before = b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_every:
            shortest = min(len(before), len(key))
            while shared < shortest and before[shared] == key[shared]:
                shared += 1
        elif number:
            restarts.append(len(out))
        for size in (shared, len(key) - shared, len(value)):
            out += write_varint(size)
        out += key[shared:] + value
        before = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
