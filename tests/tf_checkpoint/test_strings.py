"""Tensors of texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purestate._tf_checkpoint.load import load
from purestate._tf_checkpoint.strings import read_strings, write_strings
from purestate._tf_checkpoint.wire import Damage
from tests.tf_checkpoint.fixtures import prefix


def test_texts_of_tensorflow():
    words = load(prefix("dtypes"), strings=True)["words"]
    assert words.tolist() == [[b"a", b""], [b"longer", "\0\xff".encode()]]


@given(st.lists(st.binary(max_size=200), max_size=9))
def test_round_trip(texts: list[bytes]):
    data, crc = write_strings(texts)
    read, read_crc = read_strings(data, (len(texts),), len(texts))
    assert read.tolist() == texts
    assert read_crc == crc


@pytest.mark.parametrize("change", [b"", b"x"])
def test_damage(change: bytes):
    data, _ = write_strings([b"abc", b"de"])
    with pytest.raises(Damage):
        read_strings(data[:-1] if not change else data + change, (2,), 2)
    with pytest.raises(Damage):
        read_strings(bytes([data[0] + 1]) + data[1:], (2,), 2)
    assert np.shape(read_strings(data, (2, 1), 2)[0]) == (2, 1)
