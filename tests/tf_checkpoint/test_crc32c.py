"""Checksums against published ones, and against the definition, bit by bit."""

import time

import numpy as np
import pytest

from purestate._tf_checkpoint.crc32c import crc32c, masked_crc32c

# From RFC 3720, appendix B.4.
PUBLISHED = {
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(reversed(range(32))): 0x113FDB5C,
    b"123456789": 0xE3069283,
    b"": 0,
}


def by_definition(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("data", PUBLISHED)
def test_published_checksums(data: bytes):
    assert crc32c(data) == PUBLISHED[data]


def test_checksums_by_definition():
    random = np.random.default_rng(0)
    for size in [*range(20), *range(250, 400), 1000, 4095, 4097, 9000]:
        data = random.bytes(size)
        assert crc32c(data) == by_definition(data), size


def test_checksums_of_many_rows():
    data = np.random.default_rng(0).bytes((1 << 16) + 1003)
    assert crc32c(data) == by_definition(data)
    assert crc32c(np.frombuffer(data, np.uint8)) == crc32c(data)


def test_mask_is_that_of_leveldb():
    # Its own property: masks differ from sums, and the sum of "foo" is known to its tests.
    assert masked_crc32c(b"foo") != crc32c(b"foo")
    rotated = (masked_crc32c(b"foo") - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == crc32c(b"foo")


def test_large_arrays_are_fast():
    data = np.zeros(1 << 24, np.uint8)
    crc32c(data)
    start = time.perf_counter()
    crc32c(data)
    assert data.size / (time.perf_counter() - start) > 50e6  # bytes in a second; 900e6 when written
