"""Streams that Google's compressor made."""

import pytest

from purestate._tf_checkpoint.snappy import decompress
from purestate._tf_checkpoint.wire import Damage

KEYS = b"".join(b"model/_layers/%d/w/.ATTRIBUTES/VARIABLE_VALUE" % i for i in range(12))
STREAMS = {
    "00": b"",
    "010061": b"a",
    "7808616263fe0300d20300": b"abc" * 40,
    "e8070061" + "fe0100" * 15 + "9a0100": b"a" * 1000,
    "8002f0ff" + bytes(range(256)).hex(): bytes(range(256)),
    # A copy from 4 bytes of offset, by hand.
    "0c146162636465661706000000": b"abcdef" + b"abcdef",
    # A literal whose length takes two bytes, by hand.
    "ac02f42b01" + "61" * 300: b"a" * 300,
}


@pytest.mark.parametrize("stream", STREAMS)
def test_streams(stream: str):
    assert decompress(bytes.fromhex(stream)) == STREAMS[stream]


@pytest.mark.parametrize("stream", [s for s in STREAMS if len(s) < 100])
def test_damaged_streams_are_errors_or_as_long_as_they_say(stream: str):
    data = bytes.fromhex(stream)
    for at in range(len(data)):
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]):
            try:
                result = decompress(damaged)
            except Damage:
                continue
            assert len(result) < 1 << 20
