import numpy as np
import pytest

import purestate as ps
from purestate._sonnet import pad
from tests.sonnet_parts.tables import PADDINGS, recorded


@pytest.mark.parametrize("row", range(len(PADDINGS)))
def test_create_gives_the_padding_of_sonnet(row):
    names, *rest = PADDINGS[row]
    functions = [getattr(pad, name) for name in names]
    given = functions if len(functions) > 1 else functions[0]
    assert pad.create(given, *rest) == recorded("paddings")[row]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("name", ["valid", "same", "full", "causal", "reverse_causal"])
def test_the_outputs_of_a_convolution_are_as_many_as_the_name_says(name, size):
    before, after = getattr(pad, name)(size)
    outputs = len(np.convolve(np.pad(np.ones(9), (before, after)), np.ones(size), "valid"))
    assert outputs == {"valid": 10 - size, "full": 8 + size}.get(name, 9)


@pytest.mark.parametrize(
    "args",
    [
        ("SAME", 3, 1, 2, -1),
        (["SAME", "SAME"], 3, 1, 2, -1),
        ([pad.same] * 3, 3, 1, 2, -1),
        (pad.same, [3, 3, 3], 1, 2, -1),
        (pad.same, 3, [1, 1, 1], 2, -1),
    ],
)
def test_errors_are_type_errors(args):
    with pytest.raises(TypeError) as caught:
        pad.create(*args)
    assert isinstance(caught.value, ps.errors.PurestateError)
