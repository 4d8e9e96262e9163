"""Tensors of texts: the lengths of all texts, a checksum of the lengths, and the texts."""

import struct

import numpy as np

from purestate._tf_checkpoint.crc32c import crc32c, mask
from purestate._tf_checkpoint.wire import Damage, read_varint, write_varint

_LARGEST_SHORT = 0xFFFFFFFF


def read_strings(data: bytes, shape: tuple[int, ...], count: int) -> tuple[np.ndarray, int]:
    """Returns the texts, and the masked checksum that the entry must have.

    The checksum is not that of the bytes: it has each length as a number of fixed size.
    """
    at = 0
    lengths: list[int] = []
    for _ in range(count):
        length, at = read_varint(data, at)
        lengths.append(length)
    summed = _fixed(lengths)
    stored = data[at : at + 4]
    if struct.pack("<I", mask(crc32c(summed))) != stored:
        raise Damage("the checksum of the lengths of its texts does not fit them")
    at += 4
    texts = np.empty(count, object)
    if sum(lengths) != len(data) - at:
        raise Damage("its texts are longer or shorter than their lengths say")
    begin = at
    for number, length in enumerate(lengths):
        texts[number] = data[at : at + length]
        at += length
    return texts.reshape(shape), mask(crc32c(summed + stored + data[begin:]))


def write_strings(texts: list[bytes]) -> tuple[bytes, int]:
    """Returns the bytes of a tensor of texts, and their masked checksum."""
    lengths = [len(text) for text in texts]
    summed = _fixed(lengths)
    stored = struct.pack("<I", mask(crc32c(summed)))
    joined = b"".join(texts)
    data = b"".join(map(write_varint, lengths)) + stored + joined
    return data, mask(crc32c(summed + stored + joined))


def _fixed(lengths: list[int]) -> bytes:
    return b"".join(
        struct.pack("<I" if length <= _LARGEST_SHORT else "<Q", length) for length in lengths
    )
