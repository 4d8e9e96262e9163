"""What a function changes in place, of what it reads, changes neither the frame nor `apply`'s arguments."""

import copy

import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


def in_place(value):
    """Changes a value in every way that it allows."""
    if isinstance(value, np.ndarray):
        value += 1
    elif isinstance(value, dict):
        for key in list(value):
            if isinstance(value[key], (dict, list)):
                in_place(value[key])
            else:
                value[key] = value[key] + 1
        value["more"] = jnp.zeros([])
    elif isinstance(value, list):
        value.append(jnp.zeros([]))
    return value


VALUES = {
    "numpy": lambda: np.zeros([2], np.float32),
    "dict": lambda: {"a": jnp.zeros([]), "b": {"c": jnp.zeros([])}},
    "list": lambda: [jnp.zeros([]), jnp.zeros([])],
    "numpy_in_dict": lambda: {"a": np.zeros([2], np.float32)},
}
READS = {
    "get_state": lambda: ps.get_state("v"),
    "get_variable": lambda: ps.get_variable("state", "v"),
    "handle": lambda: ps.variable("state", "v").value,
    "get_current_state": lambda: ps.get_current_state()["~"]["v"],
    "get_initial_state": lambda: ps.get_initial_state()["~"]["v"],
    "get_parameter": lambda: ps.get_parameter("w", [2], init=jnp.ones),
    "get_params": lambda: ps.get_params()["~"]["w"],
}


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return np.array_equal(a, b)


@pytest.mark.parametrize("style", ["state", "collections"])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("value", VALUES)
def test_a_read_is_a_copy(value, read, style):
    if "param" in read:
        value = "numpy"

    def f():
        if ps.running_init():
            ps.variable("state", "v", init=VALUES[value])
            ps.get_parameter("w", [2], init=lambda *_: np.ones([2], np.float32))
        in_place(READS[read]())
        return READS[read]()

    params, state = {"~": {"w": np.ones([2], np.float32)}}, {"~": {"v": VALUES[value]()}}
    before = copy.deepcopy((params, state))
    expected = params["~"]["w"].copy() if "param" in read else VALUES[value]()
    if style == "state":
        g = ps.transform_with_state(f)
        out, after = g.apply(params, state, None)
        initial = g.init(None)[1]
        assert equal(after, before[1])
    else:
        g = ps.transform_with_collections(f)
        if "current" in read or "initial" in read:
            out = (
                expected
                if read == "get_initial_state"
                else g.apply({"params": params, "state": state}, None)
            )
        else:
            out = g.apply({"params": params, "state": state}, None)
        initial = g.init(None)["state"]
    assert equal((params, state)[0], before[0])
    assert equal((params, state)[1], before[1])
    assert equal(out, expected)
    assert equal(initial["~"]["v"], VALUES[value]())


@pytest.mark.parametrize("value", VALUES)
def test_what_was_set_is_a_copy(value):
    def f():
        mine = VALUES[value]()
        ps.set_state("v", mine)
        in_place(mine)
        return ps.get_state("v")

    params, state = ps.transform_with_state(f).init(None)
    assert equal(state["~"]["v"], VALUES[value]())
    assert equal(ps.transform_with_state(f).apply({}, state, None)[0], VALUES[value]())
