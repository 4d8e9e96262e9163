"""Messages of protocol buffers, from the examples of their documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purestate._tf_checkpoint import wire
from purestate._tf_checkpoint.wire import Damage


def test_documented_messages():
    assert list(wire.read_fields(bytes.fromhex("089601"))) == [(1, 150)]
    assert list(wire.read_fields(bytes.fromhex("120774657374696e67"))) == [(2, b"testing")]
    assert wire.field(1, 150) == bytes.fromhex("089601")
    assert wire.field(2, b"testing") == bytes.fromhex("120774657374696e67")
    assert list(wire.read_fields(wire.fixed32(6, 0xDEADBEEF))) == [(6, 0xDEADBEEF)]


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(number: int):
    data = wire.write_varint(number)
    value, at = wire.read_varint(data, 0)
    assert at == len(data)
    assert wire.number_of(value) == number


@pytest.mark.parametrize(
    "message",
    ["08", "0896", "1207", "1203aa", "0b", "0d0102", "08" + "ff" * 11],
)
def test_damaged_messages(message: str):
    with pytest.raises(Damage):
        list(wire.read_fields(bytes.fromhex(message)))


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error(data: bytes):
    try:
        fields = list(wire.read_fields(data))
    except Damage:
        return
    assert sum(len(wire.write_varint(number << 3)) for number, _ in fields) <= len(data)


def test_wrong_kinds():
    with pytest.raises(Damage):
        wire.number_of(b"text")
    with pytest.raises(Damage):
        wire.bytes_of(3)
    with pytest.raises(Damage):
        wire.text_of(b"\xff")
