"""Keys of parts, as TensorFlow wrote them."""

import pytest

from purestate._tf_checkpoint import slices
from purestate._tf_checkpoint.bundle import open_bundle
from tests.tf_checkpoint.fixtures import prefix


@pytest.mark.parametrize("name", ["parts", "shards"])
def test_keys_of_parts_are_those_of_tensorflow(name: str):
    bundle = open_bundle(prefix(name))
    ours = {
        slices.encode_key(key, part)
        for key, entry in bundle.entries.items()
        for part in entry.slices
    }
    assert ours == set(bundle.parts)
    assert len(ours) > 1


def test_long_numbers():
    # From the encoding's definition: as many ones as bytes, a zero, and the number.
    assert slices.encode_key("x", ((63, 64),)) == b"\0x\0\1\1\1" + b"\xbf" + b"\xc0\x40"
    assert slices.encode_key("x", ((8191, 8192),)) == b"\0x\0\1\1\1" + b"\xdf\xff" + b"\xe0\x20\x00"
    assert slices.encode_key("x\0", ()) == b"\0x\0\xff\0\1\0"


def test_index_and_text():
    part = ((1, 2), (0, -1))
    assert slices.as_index(part) == (slice(1, 3), slice(None))
    assert slices.show(part) == "[1:3, :]"
