"""The messages of an index file: its header, and the places of tensors."""

import dataclasses
import math

from purestate._tf_checkpoint.wire import (
    Damage,
    bytes_of,
    field,
    fixed32,
    number_of,
    read_fields,
)

_BIG_ENDIAN = 1
_VERSION = 1  # of the format, in what we write


@dataclasses.dataclass(frozen=True)
class Entry:
    """Place, dtype and shape of a tensor.

    Attributes:
      dtype: the number of its dtype.
      shape: its shape.
      shard: the number of the file with its bytes.
      offset: the position of its bytes there.
      size: the number of its bytes.
      crc: the masked checksum of its bytes.
      slices: for a tensor that is stored in parts, `(start, length)` of each axis of each part,
        and -1 as the length of a whole axis. Its bytes are then in the entries of the parts.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[tuple[tuple[int, int], ...], ...] = ()

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(message: bytes) -> int:
    """Returns the number of shards."""
    shards = 0
    for number, value in read_fields(message):
        if number == 1:
            shards = number_of(value)
        elif number == 2 and value == _BIG_ENDIAN:
            raise Damage("its arrays are big-endian, and purestate reads only little-endian ones")
    if shards < 1:
        raise Damage(f"its header says that there are {shards} data files")
    return shards


def write_header(shards: int) -> bytes:
    return field(1, shards) + field(3, field(1, _VERSION))


def read_entry(message: bytes) -> Entry:
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    slices: list[tuple[tuple[int, int], ...]] = []
    for number, value in read_fields(message):
        if number == 2:
            shape = _read_shape(bytes_of(value))
        elif number == 7:
            slices.append(_read_slice(bytes_of(value)))
        elif number in numbers:
            numbers[number] = number_of(value)
    dtype, shard, offset, size, crc = numbers.values()
    if min(shard, offset, size, *shape, 0) < 0:
        raise Damage("a size or position of a tensor is negative")
    return Entry(dtype, shape, shard, offset, size, crc, tuple(slices))


def write_entry(entry: Entry) -> bytes:
    # A size of 0 is still a dimension, so `field` may not drop it with its message.
    shape = b"".join(field(2, field(1, size)) for size in entry.shape)
    return (
        field(1, entry.dtype)
        + field(2, shape)
        + field(3, entry.shard)
        + field(4, entry.offset)
        + field(5, entry.size)
        + fixed32(6, entry.crc)
    )


def _read_shape(message: bytes) -> tuple[int, ...]:
    sizes: list[int] = []
    for number, value in read_fields(message):
        if number == 2:
            parts = dict(read_fields(bytes_of(value)))
            sizes.append(number_of(parts.get(1, 0)))
    return tuple(sizes)


def _read_slice(message: bytes) -> tuple[tuple[int, int], ...]:
    extents: list[tuple[int, int]] = []
    for number, value in read_fields(message):
        if number == 1:
            parts = dict(read_fields(bytes_of(value)))
            length = number_of(parts[2]) if 2 in parts else -1
            extents.append((number_of(parts.get(1, 0)), length))
    return tuple(extents)
