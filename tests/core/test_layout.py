"""Layouts: one state for all collections, or a store for each; which may change, and what is told where not."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

ONE = jnp.ones([])
GIVEN = {"params": {"~": {"p": ONE}}, "state": {"~": {"s": ONE}}, "cache": {"~": {"c": ONE}}}
NAMES = {"params": "p", "state": "s", "cache": "c"}


def apply_by_collection(f, mutable):
    """Runs a function with a store for each collection; returns what came out of each."""
    result = ps.transform_with_collections(f).apply(GIVEN, None, mutable=mutable)
    return result[1] if mutable else {}


def apply_with_one_state(f, _):
    state = {"~": {**GIVEN["state"]["~"], **GIVEN["cache"]["~"]}}
    return ps.transform_with_state(f).apply(GIVEN["params"], state, None)[1]


STYLES = {
    "one state": (apply_with_one_state, None, {"state", "cache"}),
    "none": (apply_by_collection, False, set()),
    "all": (apply_by_collection, True, {"params", "state", "cache"}),
    "cache": (apply_by_collection, "cache", {"cache"}),
    "params, state": (apply_by_collection, ["params", "state"], {"params", "state"}),
    "all but params": (apply_by_collection, ps.AllBut("params"), {"state", "cache"}),
}


@pytest.mark.parametrize("collection", NAMES)
@pytest.mark.parametrize("style", STYLES)
def test_what_may_be_set(style, collection):
    run, mutable, expected = STYLES[style]
    name = NAMES[collection]
    seen = []

    def f():
        seen.append(ps.is_mutable(collection))
        ps.set_variable(collection, name, 5 * ONE)
        return ps.get_variable(collection, name)

    if collection in expected:
        changed = run(f, mutable)
        changed = changed["~"] if style == "one state" else changed[collection]["~"]
        assert float(changed[name]) == 5
        assert float(GIVEN[collection]["~"][name]) == 1
    else:
        with pytest.raises(
            ps.errors.ImmutableCollectionError, match=f"'{name}' of '~'.*{collection!r}"
        ):
            run(f, mutable)
    assert seen == [collection in expected]


@pytest.mark.parametrize("collection", NAMES)
@pytest.mark.parametrize("style", STYLES)
def test_everything_may_be_read(style, collection):
    run, mutable, _ = STYLES[style]
    read = []
    run(lambda: read.append(ps.get_variable(collection, NAMES[collection])), mutable)
    assert read == [ONE]


@pytest.mark.parametrize("style", STYLES)
def test_what_may_be_created(style):
    run, mutable, expected = STYLES[style]

    def f():
        return ps.variable("cache", "new", [], init=jnp.zeros).value

    if style != "one state" and "cache" in expected:
        assert float(run(f, mutable)["cache"]["~"]["new"]) == 0
    else:
        with pytest.raises(ps.errors.MissingStateError, match="'new'"):
            run(f, mutable)


def make_all():
    ps.get_parameter("p", [], init=jnp.ones)
    ps.get_state("s", [], init=jnp.ones)
    ps.variable("cache", "c", [], init=jnp.ones).value = 2 * ONE


def test_init_returns_the_same_in_both():
    params, state = ps.transform_with_state(make_all).init(None)
    variables = ps.transform_with_collections(make_all).init(None)
    assert variables == GIVEN
    assert params == GIVEN["params"]
    assert state == {"~": {"s": 1, "c": 1}}


def test_a_name_stands_once_where_one_state_holds_all():
    def f():
        ps.variable("cache", "x", [], init=jnp.zeros)
        ps.variable("stats", "x", [], init=jnp.ones)

    assert jax.tree.map(float, ps.transform_with_collections(f).init(None)) == {
        "params": {},
        "cache": {"~": {"x": 0}},
        "stats": {"~": {"x": 1}},
    }
    with pytest.raises(ps.errors.CollectionError, match=r"'x' of '~'.*'cache'.*'stats'"):
        ps.transform_with_state(f).init(None)


def test_a_parameter_and_a_state_may_have_one_name():
    def f():
        return ps.get_parameter("x", [], init=jnp.ones), ps.get_state("x", [], init=jnp.zeros)

    params, state = ps.transform_with_state(f).init(None)
    assert (float(params["~"]["x"]), float(state["~"]["x"])) == (1, 0)
