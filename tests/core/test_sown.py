"""Sown values: how they are joined, reduced in order, and made alike for all branches."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._core.collection import AllBut
from purestate._core.sown import (
    Reduced,
    Sown,
    carried_on,
    filled,
    map_entries,
    plain_values,
    shapes_of_any,
    stacked,
    start_of_loop,
)

PLACE = ("losses", "net", "loss")
REDUCES = {
    "sum": operator.add,
    "last": lambda a, b: b,
    "affine": lambda a, b: 2 * a + b,  # neither commutative nor associative
}


def entry_of(values):
    return values["losses"]["net"]["loss"]


def values_of(entry):
    return {"losses": {"net": {"loss": entry}}}


def plain(values):
    return jax.tree.map(np.asarray, entry_of(plain_values(values)))


def sown_with(*values, reduce=None, names=("losses",)):
    sown = Sown(names)
    for value in values:
        sown.add(*PLACE, jnp.float32(value), reduce)
    return sown


# --- which collections ---


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((), set()),
        (("losses",), {"losses"}),
        (AllBut("losses"), {"intermediates"}),
        (AllBut(), {"losses", "intermediates"}),
        (("params", "state"), set()),  # nothing is ever sown into these
    ],
)
def test_what_is_wanted(names, wanted):
    sown = Sown(names)
    collections = ("losses", "intermediates", "params", "state")
    assert {name for name in collections if sown.wants(name)} == wanted


def test_a_nested_one_begins_empty_and_shares_the_reducers():
    sown = sown_with(1, reduce=operator.add)
    inner = sown.nested()
    assert inner.values == {}
    assert inner.names == sown.names
    inner.add("losses", "net", "other", jnp.float32(2), jnp.maximum)
    assert sown.reducers["losses", "net", "other"] is jnp.maximum
    assert "other" not in sown.values["losses"]["net"]


# --- joining ---


def test_without_reduce_they_become_a_tuple():
    assert plain(sown_with(1, 2, 3).values) == (1, 2, 3)


@pytest.mark.parametrize("name", REDUCES)
def test_with_reduce_they_become_one_value_in_order(name):
    reduce = REDUCES[name]
    found = plain(sown_with(1, 2, 3, reduce=reduce).values)
    assert found == reduce(reduce(1.0, 2.0), 3.0)


@pytest.mark.parametrize("name", REDUCES)
def test_what_another_run_has_sown_comes_after(name):
    reduce = REDUCES[name]
    sown = sown_with(1, reduce=reduce)
    inner = sown.nested()
    inner.add(*PLACE, jnp.float32(5), reduce)
    sown.join(inner.values)
    assert plain(sown.values) == reduce(1.0, 5.0)


def test_joining_nothing_changes_nothing():
    sown = sown_with(1, 2)
    sown.join({})
    assert plain(sown.values) == (1, 2)


@pytest.mark.parametrize("name", REDUCES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_values_of_a_loop_stay_apart_until_another_one_is_sown(name, steps):
    reduce = REDUCES[name]
    sown = Sown(("losses",))
    sown.reducers[PLACE] = reduce
    each = jnp.arange(1.0, steps + 1)
    sown.join(stacked(values_of(Reduced(each))))
    np.testing.assert_array_equal(plain(sown.values), each)

    sown.add(*PLACE, jnp.float32(10), reduce)
    expected = each[0]
    for value in (*each[1:], 10.0):
        expected = reduce(expected, value)
    np.testing.assert_array_equal(plain(sown.values), expected)


def test_two_loops_around_are_two_axes():
    entry = Reduced(jnp.arange(6.0).reshape(2, 3))
    marked = stacked(stacked(values_of(entry)))
    assert entry_of(marked).stacked == 2

    sown = Sown(("losses",))
    sown.reducers[PLACE] = operator.add
    sown.join(marked)
    sown.add(*PLACE, jnp.float32(100), operator.add)
    assert plain(sown.values) == 115


def test_stacked_values_without_reduce_stay_as_they_are():
    values = values_of((jnp.ones([3]),))
    assert stacked(values) == values


def test_a_reduce_whose_result_grows():
    sown = Sown(("losses",))
    sown.reducers[PLACE] = lambda a, b: jnp.concatenate([a, b])
    sown.join(stacked(values_of(Reduced(jnp.arange(3.0)[:, None]))))
    sown.join(values_of(Reduced(jnp.array([9.0]))))
    np.testing.assert_array_equal(plain(sown.values), [0, 1, 2, 9])


def test_a_value_may_be_a_tree():
    add = lambda a, b: jax.tree.map(operator.add, a, b)
    sown = Sown(("losses",))
    for i in (1.0, 2.0):
        sown.add(*PLACE, {"a": jnp.float32(i), "b": (jnp.full([2], i),)}, add)
    found = plain(sown.values)
    assert float(found["a"]) == 3
    np.testing.assert_array_equal(found["b"][0], [3, 3])


# --- what was given ---


@pytest.mark.parametrize(
    ("reduce", "given", "expected"),
    [(None, (7.0,), (7, 1, 2)), (operator.add, 7.0, 10), (lambda a, b: b, 7.0, 2)],
)
def test_given_values_come_first(reduce, given, expected):
    kept = {"net": {"loss": given, "other": "stays"}}
    sown_with(1, 2, reduce=reduce).put_into("losses", kept)
    assert jax.tree.map(float, kept["net"]["loss"]) == expected
    assert kept["net"]["other"] == "stays"


def test_a_collection_that_nothing_was_sown_into_stays_as_given():
    kept = {"net": {"loss": (7.0,)}}
    Sown(("losses",)).put_into("losses", kept)
    assert kept == {"net": {"loss": (7.0,)}}


# --- branches ---


def shapes(values):
    return jax.eval_shape(lambda: values)


def test_branches_return_one_structure():
    longer = values_of((jnp.ones([2]), jnp.ones([3])))
    shorter = values_of((jnp.full([2], 5.0),))
    both = shapes_of_any([shapes(shorter), shapes(longer), {}])
    trees = [jax.tree.structure(filled(values, both)) for values in (longer, shorter, {})]
    assert trees[0] == trees[1] == trees[2]
    first, second = plain(filled(shorter, both))
    np.testing.assert_array_equal(first, [5, 5])
    np.testing.assert_array_equal(second, [0, 0, 0])


def test_what_each_branch_sows_is_surely_there():
    values = values_of(Reduced(jnp.float32(3)))
    both = shapes_of_any([shapes(values), shapes(values)])
    assert entry_of(both).present is None
    assert entry_of(filled(values, both)).present is None


@pytest.mark.parametrize("leading", [(), (4,)])
def test_what_one_branch_sows_says_whether_it_did(leading):
    values = values_of(Reduced(jnp.full([*leading, 2], 3.0), None, len(leading)))
    both = shapes_of_any([shapes(values), {}])
    there, missing = filled(values, both), filled({}, both)
    assert jax.tree.structure(there) == jax.tree.structure(missing)
    assert entry_of(there).present.shape == leading
    assert entry_of(there).present.all()
    assert not entry_of(missing).present.any()


@pytest.mark.parametrize("name", REDUCES)
@pytest.mark.parametrize("present", [(True, False), (False, True), (False, False), (True, True)])
def test_only_what_is_there_is_reduced(name, present):
    reduce = REDUCES[name]
    sown = Sown(("losses",))
    sown.reducers[PLACE] = reduce
    for there, value in zip(present, (3.0, 4.0), strict=True):
        sown.join(values_of(Reduced(jnp.float32(value), jnp.bool_(there))))
    values = [value for there, value in zip(present, (3.0, 4.0), strict=True) if there]
    expected = 0.0 if not values else values[0] if len(values) == 1 else reduce(*values)
    assert plain(sown.values) == expected


def test_what_no_branch_sowed_is_zero():
    entry = Reduced(jnp.full([2, 3], jnp.nan), jnp.array([True, False]), 1)
    found = plain(values_of(entry))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], [0, 0, 0])


# --- loops that carry ---


def carry(reduce, steps, dtype=jnp.float32):
    """Sows each step's value in a loop that carries, as `ps.fori_loop` does."""
    reducers = {PLACE: reduce}
    step = lambda value: values_of(Reduced(value) if reduce else (value,))
    carried = start_of_loop(reducers, shapes(step(jnp.zeros([], dtype))))
    for value in steps:
        carried = carried_on(reducers, carried, step(jnp.asarray(value, dtype)))
    return carried


@pytest.mark.parametrize("name", REDUCES)
def test_a_carrying_loop_reduces_in_order(name):
    reduce = REDUCES[name]
    assert plain(carry(reduce, [1, 2, 3])) == reduce(reduce(1.0, 2.0), 3.0)


def test_a_carrying_loop_without_reduce_keeps_the_last_value():
    assert plain(carry(None, [1, 2, 3])) == (3,)


def test_a_carrying_loop_without_steps_has_nothing():
    carried = carry(operator.add, [])
    assert not entry_of(carried).present
    assert plain(carried) == 0


def test_a_carry_has_the_dtype_of_the_result():
    widen = lambda a, b: a.astype(jnp.float32) + b
    start = carry(widen, [], jnp.int32)
    assert entry_of(start).value.dtype == jnp.float32
    after = carried_on({PLACE: widen}, start, values_of(Reduced(jnp.int32(2))))
    like = lambda values: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes(values))
    assert jax.tree.leaves(like(after)) == jax.tree.leaves(like(start))  # so a loop can carry it


# --- as pytrees ---


@pytest.mark.parametrize("present", [None, True])
def test_an_entry_goes_through_jit(present):
    there = None if present is None else jnp.bool_(present)
    entry = jax.jit(lambda x: x)(Reduced(jnp.float32(2), there, 1))
    assert (float(entry.value), entry.stacked) == (2, 1)
    assert entry.present is None if present is None else bool(entry.present)


def test_entries_of_other_depth_are_other_trees():
    """So JAX reports branches that stack differently, instead of mixing them up."""
    one, two = (Reduced(jnp.ones([2]), None, depth) for depth in (0, 1))
    assert jax.tree.structure(one) != jax.tree.structure(two)


def test_a_function_of_each_entry():
    values = {"a": {"m": {"x": 1, "y": 2}}, "b": {"n": {"x": 3}}}
    assert map_entries(lambda x: 10 * x, values) == {
        "a": {"m": {"x": 10, "y": 20}},
        "b": {"n": {"x": 30}},
    }
