"""`reads_of`: what a function reads, sets and draws, without running it."""

import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core.frame import get_frame
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.reads import names_in, params_of, reads_of

CASES = {
    "nothing": (lambda: None, set(), [], False),
    "parameter": (lambda: ps.get_parameter("w", [2], init=jnp.ones), {"~/w"}, [], False),
    "state": (lambda: ps.get_state("s"), {"~/s"}, [], False),
    "both": (
        lambda: (ps.get_parameter("w", [2]), ps.get_state("s")),
        {"~/w", "~/s"},
        [],
        False,
    ),
    "set": (lambda: ps.set_state("s", jnp.ones([])), set(), ["~/s"], False),
    "key": (ps.next_rng_key, set(), [], True),
    "in_a_loop": (
        lambda: ps.fori_loop(0, 2, lambda i, x: x + ps.get_parameter("w", [2]), jnp.zeros(2)),
        {"~/w"},
        [],
        False,
    ),
}


@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_read(case, mode):
    f, read, written, draws = CASES[case]
    found = []

    def run():
        ps.get_parameter("w", [2], init=jnp.ones)
        ps.get_parameter("unread", [2], init=jnp.ones)
        ps.get_state("s", [], init=jnp.zeros)
        frame = get_frame("this")
        found.append(reads_of(frame, Lifted(f, frame)))
        return True

    g = ps.transform_with_state(run, rng_mode=mode)
    params, state = g.init(0)
    found.clear()
    _, after = g.apply(params, state, 0)
    assert after == state
    (reads,) = found
    names = set().union(*map(names_in, reads.values.values()))
    assert (names, reads.written, reads.draws) == (read, written, draws)
    assert names_in(params_of(reads)) == read & {"~/w"}
