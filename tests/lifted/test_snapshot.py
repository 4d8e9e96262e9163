"""Snapshots: what they hold, what counts as a change, and what is put back into the frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core.frame import get_frame
from purestate._lifted.snapshot import (
    Snapshot,
    changes,
    check_outlives,
    collection_in,
    entries,
    keep,
    merged,
    new_names,
    new_values,
    paths_of,
    put,
    take_snapshot,
    whole_snapshot,
    without,
)

ONE = jnp.ones([])
GIVEN = {"params": {"net": {"w": ONE}}, "state": {"net": {"n": ONE}}, "cache": {"~": {"c": ONE}}}


def in_a_run(check, *, mutable=("state",), rng=None):
    """Calls `check(frame)` in `apply` of variables in three collections."""
    pair = ps.transform_with_collections(lambda: check(get_frame("this test")))
    return pair.apply(GIVEN, rng, mutable=mutable)


# --- taking ---


def test_it_holds_what_can_change():
    def check(frame):
        snapshot = take_snapshot(frame)
        assert snapshot.values == {"state": {"net": {"n": ONE}}}
        assert snapshot.keys is None

    in_a_run(check)


def test_a_whole_one_holds_what_is_only_read_too():
    def check(frame):
        snapshot = take_snapshot(frame)
        assert whole_snapshot(frame, snapshot).values == GIVEN
        changed = snapshot._replace(values={"state": {"net": {"n": 2 * ONE}}})
        assert whole_snapshot(frame, changed).values["state"]["net"]["n"] == 2

    in_a_run(check)


def test_later_changes_do_not_reach_it():
    def check(frame):
        snapshot = take_snapshot(frame)
        ps.set_state("new", ONE)
        keep(frame, Snapshot({"state": {"net": {"n": 5 * ONE}}}, {}, None))
        assert frame.collections["state"].values["net"] == {"n": 5}
        assert snapshot.values == {"state": {"net": {"n": ONE}}}

    in_a_run(check)


def test_it_is_a_pytree():
    def check(frame):
        snapshot = take_snapshot(frame)
        doubled = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x, s))(snapshot._replace(keys=None))
        assert isinstance(doubled, Snapshot)
        assert doubled.values["state"]["net"]["n"] == 2

    in_a_run(check)


def test_in_init_it_holds_initial_values_beside_the_present_ones():
    def f():
        ps.get_state("n", [], init=jnp.zeros)
        ps.set_state("n", ONE)
        snapshot = take_snapshot(get_frame("this test"))
        assert snapshot.values["state"]["~"]["n"] == 1
        assert snapshot.initial["state"]["~"]["n"] == 0

    ps.transform_with_state(f).init(None)


# --- what has changed ---


def test_only_another_array_is_a_change():
    same, other = jnp.ones([2]), jnp.ones([2])
    before = Snapshot({"state": {"m": {"a": same, "b": same}}}, {}, None)
    after = Snapshot({"state": {"m": {"a": same, "b": other, "c": same}}}, {}, None)
    changed = changes(before, after)
    assert set(changed.values["state"]["m"]) == {"b", "c"}
    assert changes(after, after) == Snapshot({}, {}, None)


@pytest.mark.parametrize("draws", [0, 1])
def test_keys_are_a_change_if_one_was_drawn(draws):
    def check(frame):
        before = take_snapshot(frame)
        for _ in range(draws):
            ps.next_rng_key()
        changed = changes(before, take_snapshot(frame))
        assert (changed.keys is not None) == bool(draws)

    in_a_run(check, rng=jax.random.key(0))


def test_new_names_and_new_values():
    before = {"state": {"m": {"a": ONE}}}
    after = {"state": {"m": {"a": ONE + 1, "b": ONE}, "n": {}}, "cache": {"m": {"a": ONE}}}
    assert paths_of(new_values(before, after)) == ["m/a", "m/a", "m/b"]
    assert new_names(before, after) == {"state": {"m": {"b": ONE}}, "cache": {"m": {"a": ONE}}}


# --- bundles of values ---

A = {"state": {"m": {"a": 1, "b": 2}}, "cache": {}}
B = {"state": {"m": {"b": 3}, "n": {"c": 4}}}


def test_entries_in_order_and_put_back():
    found = {}
    for entry in entries(B):
        put(found, *entry)
    assert found == B
    assert entries(B) == [("state", "m", "b", 3), ("state", "n", "c", 4)]
    assert entries({"state": {"m": {}}}) == []


def test_merged_prefers_the_second_and_changes_neither():
    assert merged(A, B) == {"state": {"m": {"a": 1, "b": 3}, "n": {"c": 4}}, "cache": {}}
    assert A == {"state": {"m": {"a": 1, "b": 2}}, "cache": {}}
    assert B == {"state": {"m": {"b": 3}, "n": {"c": 4}}}


def test_without_keeps_empty_collections():
    assert without(A, B) == {"state": {"m": {"a": 1}}, "cache": {}}
    assert without(A, {}) == {"state": {"m": {"a": 1, "b": 2}}, "cache": {}}


# --- keeping ---


def test_what_is_kept_and_what_stays():
    def check(frame):
        keep(frame, Snapshot({"state": {"net": {"n": 4 * ONE}, "new": {"x": ONE}}}, {}, None))
        assert ps.get_current_state() == {"net": {"n": 4}, "new": {"x": 1}}
        keep(frame, Snapshot({}, {}, None))
        assert ps.get_current_state() == {"net": {"n": 4}, "new": {"x": 1}}

    _, updated = in_a_run(check)
    assert jax.tree.map(float, updated["state"]) == {"net": {"n": 4}, "new": {"x": 1}}


def test_the_first_initial_value_stays():
    def f():
        frame = get_frame("this test")
        for value in (1.0, 2.0):
            bundle = {"state": {"~": {"n": jnp.float32(value)}}}
            keep(frame, Snapshot(bundle, bundle, None))
        return ps.get_state("n")

    pair = ps.transform_with_state(f)
    _, state = pair.init(None)
    assert state["~"]["n"] == 1
    assert pair.apply({}, state, None)[0] == 2


def test_keys_go_on_after_those_that_were_drawn_inside():
    def f():
        frame = get_frame("this test")
        source = frame.keys.source
        inside = source.again(source.state)
        drawn = [inside.next(), inside.next()]
        keep(frame, Snapshot({}, {}, inside.state))
        return [*drawn, ps.next_rng_key()]

    plainly = lambda: [ps.next_rng_key() for _ in range(3)]
    found, expected = (ps.transform(g).apply({}, jax.random.key(0)) for g in (f, plainly))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))


@pytest.mark.parametrize("mutable", [("losses",), ("state",)])
def test_sown_values_are_joined_if_anyone_requested_them(mutable):
    def check(frame):
        ps.sow("loss", ONE, "losses")
        reducers = frame.sown.reducers
        reducers["losses", "~", "loss"] = None
        keep(frame, Snapshot({}, {}, None), {"losses": {"~": {"loss": (2 * ONE,)}}})

    if mutable == ("losses",):
        _, updated = in_a_run(check, mutable=mutable)
        assert updated["losses"]["~"]["loss"] == (1, 2)
    else:
        _, updated = in_a_run(lambda frame: ps.sow("loss", ONE, "losses"), mutable=mutable)
        assert "losses" not in updated


def test_a_collection_is_made_when_it_is_first_needed():
    def check(frame):
        assert collection_in(frame, "cache") is frame.collections["cache"]
        new = collection_in(frame, "new")
        assert frame.collections["new"] is new
        assert (new.values, new.writable, new.creatable) == ({}, True, True)
        assert not collection_in(frame, "fixed").changes

    in_a_run(check, mutable=("state", "new"))


# --- values of a trace that ends ---


@pytest.mark.parametrize("transform", ["vmap", "jit", "grad"])
def test_a_value_of_a_plain_jax_transform_is_not_kept(transform):
    def inside(x):
        frame = get_frame("this test")
        check_outlives(frame, {"state": {"net": {"n": ONE}}})  # one from outside may stay
        keep(frame, Snapshot({"state": {"net": {"n": x}}}, {}, None))
        return x

    around = {"vmap": jax.vmap, "jit": jax.jit, "grad": jax.grad}[transform]
    x = jnp.ones([2]) if transform == "vmap" else ONE
    with pytest.raises(ps.errors.PurestateError, match="'n', in a transform of purestate, "):
        in_a_run(lambda frame: around(inside)(x))


def test_a_value_of_the_trace_of_the_run_is_kept():
    def f(x):
        keep(get_frame("this test"), Snapshot({"state": {"~": {"n": x}}}, {}, None))

    apply = ps.transform_with_state(f).apply
    given = {"~": {"n": ONE}}
    assert jax.jit(lambda x: apply({}, given, None, x)[1])(3 * ONE)["~"]["n"] == 3
