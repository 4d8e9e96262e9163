"""`AllBut`, `DO_NOT_STORE`, and copies of collections: own dicts, the same arrays."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core.collection import Collection


@pytest.mark.parametrize("given", [("a", "b"), (["a", "b"],), ("b", ["a"])])
def test_all_but_is_the_complement_of_a_set(given):
    but = ps.AllBut(*given)
    assert {name for name in "abcd" if name in but} == set("abcd") - {"a", "b"}
    assert but == ps.AllBut("a", "b")
    assert hash(but) == hash(ps.AllBut("b", "a"))
    assert but != ps.AllBut("a")
    assert eval(repr(but), {"AllBut": ps.AllBut}) == but


def test_all_but_of_no_name_is_everything():
    assert "anything" in ps.AllBut()


@pytest.mark.parametrize("attribute", ["shape", "dtype"])
def test_do_not_store_is_not_an_array(attribute):
    assert repr(ps.DO_NOT_STORE) == "DO_NOT_STORE"
    with pytest.raises(ps.errors.PurestateError, match=f"no {attribute}"):
        getattr(ps.DO_NOT_STORE, attribute)


def test_do_not_store_is_kept_in_no_collection():
    def creator(next_creator, shape, dtype, init, context):
        next_creator(shape, dtype, init)
        return ps.DO_NOT_STORE

    def getter(next_getter, value, context):
        return next_getter(jnp.full(context.original_shape, 7.0))

    def f():
        with (
            ps.custom_creator(creator, state=True),
            ps.custom_getter(getter, state=True),
            ps.custom_setter(lambda next_setter, value, context: ps.DO_NOT_STORE),
        ):
            ps.set_state("set", jnp.ones([]))
            return [get("w", [2], init=jnp.zeros) for get in (ps.get_parameter, ps.get_state)]

    g = ps.transform_with_state(f)
    assert g.init(None) == ({}, {})
    out, state = g.apply({}, {}, None)
    assert [value.tolist() for value in out] == [[7, 7], [7, 7]]
    assert state == {}


@pytest.mark.parametrize("get", [ps.get_params, ps.get_current_state, ps.get_initial_state])
def test_copies_are_the_callers_own(get):
    def f():
        ps.get_parameter("w", [], init=jnp.ones)
        ps.get_state("w", [], init=jnp.ones)
        copy = get()
        first = copy["~"]["w"]
        copy["~"]["w"] = copy["other"] = None
        return first, get()

    params, state = ps.transform_with_state(f).init(None)
    (first, again), _ = ps.transform_with_state(f).apply(params, state, None)
    assert again == {"~": {"w": first}}
    assert first in (params["~"]["w"], state["~"]["w"])  # no copy of the array


def test_values_and_initial_values_are_apart():
    def f():
        for _ in range(3):
            ps.set_state("n", ps.get_state("n", [], init=jnp.zeros) + 1)
        return ps.get_initial_state(), ps.get_current_state()

    g = ps.transform_with_state(f)
    params, state = g.init(None)
    assert jax.tree.map(float, state) == {"~": {"n": 0}}
    (initial, current), new = g.apply(params, {"~": {"n": jnp.array(10.0)}}, None)
    assert jax.tree.map(float, (initial, current)) == ({"~": {"n": 10}}, {"~": {"n": 13}})
    assert new == current


def test_a_module_is_copied_before_it_changes():
    ours, theirs = {"a": {"w": 1}, "b": {"w": 2}}, {"a": {"w": 1}}
    collection = Collection("state", dict(ours), dict(theirs), creatable=True, writable=True)
    collection.make_own("a")
    collection.make_own("new")
    collection.values["a"]["w"] = collection.initial["a"]["w"] = 5
    assert ours == {"a": {"w": 1}, "b": {"w": 2}}
    assert theirs == {"a": {"w": 1}}
    assert collection.values["b"] is ours["b"]
    assert collection.values["new"] == {}
    assert set(collection.initial) == {"a"}, "what has no initial value gets none"
