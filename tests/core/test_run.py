"""One run: `init` returns what was first, `apply` what was last; arguments are left alone; nothing is kept."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core.run import has_shapes_only
from tests.core.raises import raises


def program(values):
    """Sets a state to each value in turn, and reads it in between."""

    def f():
        seen = [ps.get_state("s", [], init=ps.initializers.Constant(-1.0))]
        for value in values:
            ps.set_state("s", jnp.array(value))
            seen.append(ps.get_state("s"))
        return seen

    return ps.transform_with_state(f)


@pytest.mark.parametrize("values", [(), (1.0,), (3.0, 5.0, 4.0)])
def test_init_returns_the_first_value_and_apply_the_last(values):
    f = program(values)
    params, state = f.init(None)
    assert (params, float(state["~"]["s"])) == ({}, -1)
    seen, new = f.apply({}, {"~": {"s": jnp.array(7.0)}}, None)
    assert [float(value) for value in seen] == [7.0, *values]
    assert float(new["~"]["s"]) == [7.0, *values][-1]


def test_a_state_that_is_set_before_it_is_read():
    f = ps.transform_with_state(
        lambda: [ps.set_state("s", jnp.array(v)) for v in (1.0, 2.0)] and None
    )
    assert float(f.init(None)[1]["~"]["s"]) == 1
    assert float(f.apply({}, None, None)[1]["~"]["s"]) == 2


def test_state_that_is_not_touched_comes_back():
    f = ps.transform_with_state(lambda: ps.get_state("s"))
    given = {"~": {"s": jnp.ones([2])}, "other": {"x": jnp.zeros([3]), "y": {"tree": jnp.ones([])}}}
    out, new = f.apply({}, given, None)
    assert new == given
    assert out is given["~"]["s"]


def test_arguments_are_left_alone():
    def f():
        ps.set_state("new", jnp.ones([]))
        ps.set_state("old", jnp.zeros([]))
        return ps.get_parameter("w", [])

    params, state = {"~": {"w": jnp.ones([])}}, {"~": {"old": jnp.ones([])}}
    before = jax.tree.map(np.asarray, (params, state))
    _, new = ps.transform_with_state(f).apply(params, state, None)
    assert (params, state) == before
    assert sorted(new["~"]) == ["new", "old"]


def test_the_result_is_what_the_function_returned():
    marker = object()
    f = ps.transform(lambda *args, **kwargs: (marker, args, kwargs))
    assert f.apply({}, None, 1, (2,), a=None) == (marker, (1, (2,)), {"a": None})


def test_an_exception_is_the_callers():
    class Own(Exception):
        pass

    error = Own("mine")

    def f():
        raise error

    for run in (lambda: ps.transform(f).init(None), lambda: ps.transform(f).apply({}, None)):
        with pytest.raises(Own) as caught:
            run()
        assert caught.value is error
    assert ps.transform(lambda: 1).apply({}, None) == 1


def test_nothing_is_kept_of_a_run():
    class Net(ps.Module):
        pass

    modules = []
    ps.transform(lambda: modules.append(weakref.ref(Net()))).init(None)
    gc.collect()
    assert [module() for module in modules] == [None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((3, None, None), ("`params` was expected to be a dict", "an int")),
        (({}, 3, None), ("`state` was expected to be a dict", "an int")),
        (({}, {"m": 3}, None), ("'m'", "{name: array}")),
    ],
)
def test_arguments_of_another_kind(given, words):
    f = ps.transform_with_state(lambda: None)
    raises(ps.errors.ArgumentError, *words, call=lambda: f.apply(*given))


def test_a_run_inside_of_another_has_variables_of_its_own():
    inner = ps.transform(lambda: ps.get_parameter("w", [], init=jnp.ones))

    def f():
        own = ps.get_parameter("w", [], init=jnp.zeros)
        params = inner.init(None)
        return own, inner.apply(params, None), ps.get_params()

    params = ps.transform(f).init(None)
    own, others, seen = ps.transform(f).apply(params, None)
    assert (float(own), float(others)) == (0, 1)
    assert params == seen == {"~": {"w": 0}}


def test_shapes_are_found_in_a_tree():
    shape = jax.ShapeDtypeStruct([2], jnp.float32)
    assert has_shapes_only(({"x": [shape]}, None))
    assert not has_shapes_only(({"x": [jnp.ones([2]), "x", True]}, None))
