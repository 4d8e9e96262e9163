"""CRC-32C, the checksum of TensorFlow's files, in NumPy.

A checksum that starts from zero is linear: that of `a ^ b` is that of `a` xor that of `b`. So we
may cut data into lines, and keep one partial checksum for each column. A line costs a handful of
NumPy operations, whatever its width.
"""

import functools
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_WIDEST = 14  # columns, as a power of two; a line of 64 KB stays in the processor's cache
_SMALL = 256  # bytes up to which a loop in Python is faster


def masked_crc32c(data: Any) -> int:
    """Returns the checksum as files have it: rotated, so that a file may hold sums of sums."""
    return mask(crc32c(data))


def mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(data: Any) -> int:
    """Returns the checksum of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    raw = np.frombuffer(data, np.uint8)
    if raw.size <= _SMALL:
        return _of_few(raw.tobytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return _of_many(raw) ^ 0xFFFFFFFF


def _of_few(data: bytes, crc: int) -> int:
    table = _bytes_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _of_many(raw: np.ndarray) -> int:
    level = min(_WIDEST, (raw.size // 4).bit_length() - 1)
    width = 4 << level
    # Zeros in front change nothing, so the first line may be short. But the start value does: it is
    # part of the first four bytes.
    short = (raw.size - 4) % width + 4
    first = np.zeros(-(-short // width) * width, np.uint8)
    first[first.size - short :] = raw[:short]
    start = first[first.size - short :][:4]
    start ^= 0xFF
    lines = first.view("<u4").reshape(-1, width // 4)
    low, high = _shift_tables(level)
    columns = lines[0].astype(np.uint32)
    for line in lines[1:]:
        columns = low[columns & 0xFFFF] ^ high[columns >> 16] ^ line
    rest = raw[short:]
    for begin in range(0, rest.size, width):
        line = rest[begin : begin + width].view("<u4")
        columns = low[columns & 0xFFFF] ^ high[columns >> 16] ^ line
    for below in reversed(range(level)):
        half = columns.size // 2
        columns = _shifted(columns[:half], below) ^ columns[half:]
    return int(_shifted(columns, 0)[0])


def _shifted(crc: np.ndarray, level: int) -> np.ndarray:
    """Returns checksums as they are after 4 * 2**level more bytes of zero."""
    if level > 8 or crc.size > 4096:
        low, high = _shift_tables(level)
        return low[crc & 0xFFFF] ^ high[crc >> 16]
    tables = _small_tables(level)
    return (
        tables[0][crc & 0xFF]
        ^ tables[1][(crc >> 8) & 0xFF]
        ^ tables[2][(crc >> 16) & 0xFF]
        ^ tables[3][crc >> 24]
    )


@functools.cache
def _bytes_table() -> list[int]:
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


@functools.cache
def _columns(level: int) -> np.ndarray:
    """Returns what each of the 32 bits of a checksum becomes after 4 * 2**level bytes of zero."""
    if level == 0:
        return np.array([_of_few(bytes(4), 1 << bit) for bit in range(32)], np.uint32)
    once = _columns(level - 1)
    bits = (once[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    return np.bitwise_xor.reduce(np.where(bits, once[None, :], np.uint32(0)), axis=1)


@functools.cache
def _small_tables(level: int) -> np.ndarray:
    bits = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(bool)
    columns = _columns(level).reshape(4, 1, 8)
    return np.bitwise_xor.reduce(np.where(bits, columns, np.uint32(0)), axis=2)


@functools.cache
def _shift_tables(level: int) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = _small_tables(level)
    return (b[:, None] ^ a[None, :]).reshape(-1), (d[:, None] ^ c[None, :]).reshape(-1)
