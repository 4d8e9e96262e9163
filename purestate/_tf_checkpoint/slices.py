"""Tensors that are stored in parts, such as those of partitioned variables."""

Slice = tuple[tuple[int, int], ...]
"""Start and length of each axis; length -1 is the whole axis."""

_PART = b"\0"  # how keys of parts begin, and no other
_END = b"\0\1"


def is_part(key: bytes) -> bool:
    return key.startswith(_PART)


def as_index(part: Slice) -> tuple[slice, ...]:
    return tuple(
        slice(None) if length < 0 else slice(start, start + length) for start, length in part
    )


def show(part: Slice) -> str:
    return "[" + ", ".join(":" if n < 0 else f"{start}:{start + n}" for start, n in part) + "]"


def encode_key(key: str, part: Slice) -> bytes:
    """Returns the key of a part: name, number of axes, and start and length of each axis.

    Each is written such that the order of keys is that of names, then of positions.
    """
    escaped = key.encode().replace(b"\0", b"\0\xff")
    axes = len(part)
    encoded = bytes([1, axes]) if axes else b"\0"
    numbers = b"".join(_encode(number) for extent in part for number in extent)
    return _PART + escaped + _END + encoded + numbers


def _encode(number: int) -> bytes:
    """Returns a number with a prefix of as many ones as it has bytes; the sign is part of it."""
    magnitude = number if number >= 0 else ~number
    size = magnitude.bit_length() // 7 + 1
    bits = 8 * size
    prefix = ((1 << size) - 1) << (bits - size)
    value = (number & ((1 << bits) - 1)) ^ prefix
    return value.to_bytes(size, "big")
