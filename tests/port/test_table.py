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


# Porting takes longer than running, so a test has several snippets as one program.
CHUNK = 20
FIRST = range(0, len(CASES), CHUNK)


def ported(snippets):
    """The value of each snippet as the tool ports it; ported as one program, run one by one."""
    lines = [f"results[{i}] = lambda: {snippet}" for i, snippet in enumerate(snippets)]
    result = port_source("\n".join([PREAMBLE, "results = {}", *lines, ""]), "sonnet")
    assert [str(left) for left in result.remaining] == []
    space = {}
    exec(result.text, space)
    return space["results"].values()


@pytest.mark.one_in(12)
@pytest.mark.parametrize("first", FIRST)
def test_numbers_of_tensorflow(first):
    snippets = [snippet for _, snippet in CASES[first : first + CHUNK]]
    for snippet, value in zip(snippets, ported(snippets), strict=True):
        check(snippet, value())


def check(snippet, value):
    wanted = RECORDED[snippet]
    found = [entry(leaf) for leaf in leaves(value)]
    assert len(found) == len(wanted), snippet
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours["shape"] == theirs["shape"], snippet
        # An int of Python, such as a size, is int64 for numpy.
        expected = NARROW.get(theirs["dtype"], theirs["dtype"])
        assert NARROW.get(ours["dtype"], ours["dtype"]) == expected, snippet
        np.testing.assert_allclose(
            ours["numbers"], theirs["numbers"], rtol=2e-5, atol=1e-6, err_msg=snippet
        )
