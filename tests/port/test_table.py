"""The table of TensorFlow's names: what the tool makes of each form gives TensorFlow's numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from purestate.port import port_source
from tests.port.record import entry, leaves
from tests.port.snippets import CASES, PREAMBLE

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
NARROW = {"int64": "int32", "float64": "float32", "uint64": "uint32", "complex128": "complex64"}


@pytest.fixture(scope="module")
def ported():
    """The value of each snippet as the tool ports it; ported as one program, run one by one."""
    lines = [f"results[{i}] = lambda: {snippet}" for i, (_, snippet) in enumerate(CASES)]
    result = port_source("\n".join([PREAMBLE, "results = {}", *lines, ""]), "sonnet")
    assert [str(left) for left in result.remaining] == []
    space = {}
    exec(result.text, space)
    return space["results"]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("index", "snippet"), list(enumerate(snippet for _, snippet in CASES)), ids=lambda v: str(v)
)
def test_numbers_of_tensorflow(ported, index, snippet):
    wanted = RECORDED[snippet]
    found = [entry(leaf) for leaf in leaves(ported[index]())]
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours["shape"] == theirs["shape"]
        # An int of Python, such as a size, is int64 for numpy.
        assert NARROW.get(ours["dtype"], ours["dtype"]) == NARROW.get(
            theirs["dtype"], theirs["dtype"]
        )
        np.testing.assert_allclose(ours["numbers"], theirs["numbers"], rtol=2e-5, atol=1e-6)
