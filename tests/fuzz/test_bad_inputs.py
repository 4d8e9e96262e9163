"""Wrong values in every place of the API end in an error that tells, and leave nothing behind; see `bad_inputs.py`."""

import pytest

from tests.fuzz.bad_inputs import CALLS, LEFT_OUT, VALUES, outcome_of

pytestmark = pytest.mark.filterwarnings("ignore")  # what JAX and numpy have to say of odd values

# What is told apart soonest: no number, no array, no rows, no key.
TELLING = (
    "None",
    "-1",
    "word",
    "dict of words",
    "function",
    "object array",
    "no columns",
    "typed key",
)


def _wrong(call, values):
    kinds = {value: outcome_of(call, value) for value in values if (call, value) not in LEFT_OUT}
    return {value: kind for value, kind in kinds.items() if kind.startswith("wrong")}


def test_telling_values():
    """Each call with every other value, and each value with every other call."""
    found = {call: _wrong(call, TELLING[i % 2 :: 2]) for i, call in enumerate(CALLS)}
    assert not {call: wrong for call, wrong in found.items() if wrong}


@pytest.mark.one_slow_in(2)
@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_all_values(call):
    assert not _wrong(call, VALUES)
