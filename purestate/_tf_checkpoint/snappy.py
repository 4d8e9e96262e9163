"""Undoes Snappy, the compression that blocks of a table may have."""

from purestate._tf_checkpoint.wire import Damage, read_varint


def decompress(data: bytes) -> bytes:
    """Returns the bytes that Snappy made shorter.

    A stream is the size of the result and then elements. Each is new bytes, or a copy of earlier
    ones. The two low bits of its first byte say which.

    >>> decompress(bytes([8, 0b100, 97, 98, 0b1001, 2]))
    b'abababab'
    """
    size, at = read_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length, at = _literal_length(data, tag, at)
            if at + length > len(data):
                raise Damage("a compressed block is cut off")
            out += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, tag, at)
            if not 0 < offset <= len(out):
                raise Damage("a compressed block copies bytes from before its start")
            _append_copy(out, offset, length)
        if len(out) > size:
            break
    if len(out) != size:
        raise Damage(f"a compressed block has {len(out)} bytes in place of {size}")
    return bytes(out)


def _literal_length(data: bytes, tag: int, at: int) -> tuple[int, int]:
    length = tag >> 2
    if length < 60:
        return length + 1, at
    extra = length - 59
    return int.from_bytes(data[at : at + extra], "little") + 1, at + extra


def _copy(data: bytes, tag: int, at: int) -> tuple[int, int, int]:
    if tag & 3 == 1:
        low = data[at : at + 1]
        return (tag >> 2 & 7) + 4, (tag >> 5) << 8 | int.from_bytes(low, "little"), at + 1
    extra = 2 if tag & 3 == 2 else 4
    return (tag >> 2) + 1, int.from_bytes(data[at : at + extra], "little"), at + extra


def _append_copy(out: bytearray, offset: int, length: int) -> None:
    """Appends a copy, which may reach into itself: then it repeats."""
    piece = out[len(out) - offset :]
    out += (piece * (length // offset + 1))[:length]
