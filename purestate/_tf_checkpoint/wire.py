"""The wire format of protocol buffers: numbered fields of varints, fixed numbers and bytes."""

import struct
from collections.abc import Iterator

Value = int | bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Damage(Exception):  # noqa: N818 (users never see it)
    """Bytes that do not follow the format; the code that knows the file raises the user's error."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Damage("a number is cut off")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
    raise Damage("a number has more than ten bytes")


def write_varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF  # a negative number takes all 64 bits
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yields number and value of each field of a message."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = read_varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise Damage(f"a message has a field of unknown kind {kind}")
        if at + size > len(message):
            raise Damage("a message is cut off")
        part = message[at : at + size]
        at += size
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")


def number_of(value: Value) -> int:
    """Returns a field that must be a number, with its sign."""
    if not isinstance(value, int):
        raise Damage("a message has text in place of a number")
    return value - (1 << 64) if value >> 63 else value


def bytes_of(value: Value) -> bytes:
    """Returns a field that must be text or a message."""
    if not isinstance(value, bytes):
        raise Damage("a message has a number in place of text")
    return value


def text_of(value: Value) -> str:
    try:
        return bytes_of(value).decode()
    except UnicodeDecodeError:
        raise Damage("a message has text that is not UTF-8") from None


def field(number: int, value: Value) -> bytes:
    """Returns a field as bytes; a number that is 0 is left out, as messages do."""
    if isinstance(value, int):
        return write_varint(number << 3) + write_varint(value) if value else b""
    return write_varint(number << 3 | _BYTES) + write_varint(len(value)) + value


def fixed32(number: int, value: int) -> bytes:
    return write_varint(number << 3 | _FIXED32) + struct.pack("<I", value) if value else b""
