"""`while_loop` and `fori_loop`: as Python's own loops over the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises
from tests.lifted.by_python import (
    PARAMS,
    Step,
    X,
    cases,
    check_apply,
    check_init,
    check_keys,
    check_needs_a_frame,
    program,
)

CASES = cases("fori_loop", "while_loop")


@pytest.mark.parametrize(("name", "number"), CASES)
def test_apply_is_that_of_python(name, number):
    check_apply(name, number)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_init_makes_what_any_way_through_needs(name, number):
    check_init(name, number, ["a"])


def test_bounds_may_be_known_only_to_the_compiled_program():
    pair = ps.transform_with_state(program("fori_loop", ps.fori_loop))
    params, state = jax.jit(pair.init)(None, X, 3)
    out, new = jax.jit(pair.apply)(params, state, None, X, 3)
    expected, _ = pair.apply(params, state, None, X, 3)
    np.testing.assert_array_equal(out, expected)
    assert int(new["a"]["n"]) == 3


@pytest.mark.parametrize(
    "use",
    [
        lambda draw: ps.fori_loop(0, 3, lambda i, x: draw(), jnp.uint32(0)),
        lambda draw: ps.while_loop(lambda v: v[0] < 3, lambda v: (v[0] + 1, draw()), (0, draw())),
    ],
)
def test_keys_after_it_are_new_ones(use):
    check_keys(use)


def test_a_condition_may_read_and_not_change():
    def f(x, change):
        limit = ps.get_state("limit", [], init=ps.initializers.Constant(10.0))

        def condition(x):
            if change:
                ps.set_state("limit", limit + 1)
            return x < ps.get_state("limit")

        return x if ps.running_init() else ps.while_loop(condition, lambda x: 2 * x, x)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, 1.0, False)
    assert float(pair.apply(params, state, None, 1.0, False)[0]) == 16
    words = ("condition of `ps.while_loop`", "in the body")
    call = lambda: pair.apply(params, state, None, 1.0, True)
    raises(ps.errors.LoopError, *words, call=call)


def test_a_loop_that_may_run_no_step_makes_no_variables():
    f = ps.transform(lambda x: ps.while_loop(lambda x: True, Step(name="a"), x))
    raises(ps.errors.LoopError, "running_init", call=lambda: f.init(None, X))
    g = ps.transform_with_state(lambda x: ps.fori_loop(0, 3, lambda i, x: Step(name="a")(x), x))
    raises(ps.errors.NewVariableError, "'a/n'", call=lambda: g.apply(PARAMS, None, None, X))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("fori_loop", (0, 1, lambda i, x: x, X)),
        ("while_loop", (lambda x: False, jnp.sin, X)),
    ],
)
def test_only_inside_of_a_run(name, args):
    check_needs_a_frame(name, args)
