"""`cond` and `switch`: as Python's own `if` over the same functions."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from tests.lifted.by_python import (
    PARAMS,
    STATE,
    X,
    cases,
    check_apply,
    check_init,
    check_keys,
    check_needs_a_frame,
    program,
)

CASES = cases("cond", "switch")


@pytest.mark.parametrize(("name", "number"), CASES)
def test_apply_is_that_of_python(name, number):
    check_apply(name, number)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_init_makes_what_any_way_through_needs(name, number):
    check_init(name, number, ["a", "b"])


@pytest.mark.parametrize(
    "use",
    [
        lambda draw: ps.cond(True, draw, lambda: draw() + draw()),
        lambda draw: ps.cond(False, draw, lambda: draw() + draw()),
        lambda draw: ps.switch(1, [draw, lambda: jnp.uint32(0)]),
    ],
)
def test_keys_after_it_are_new_ones(use):
    check_keys(use)


def test_a_gradient_goes_through_the_branch_that_is_taken():
    pair = ps.transform_with_state(program("cond", ps.cond))
    loss = lambda params, number: pair.apply(params, STATE, None, X, number)[0].sum()
    for number, taken in ((1, "a"), (0, "b")):
        grads = jax.grad(loss)(PARAMS, number)
        assert {m: g["w"].tolist() for m, g in grads.items()} == {
            m: X.tolist() if m == taken else [0, 0, 0] for m in PARAMS
        }


def test_the_old_form_of_cond():
    f = ps.transform(lambda p, x: ps.cond(p, x, lambda x: x + 1, -x, lambda x: 10 * x))
    assert f.apply({}, None, True, 2) == 3
    assert f.apply({}, None, False, 2) == -20


def test_branches_have_to_fit():
    f = ps.transform(lambda x: ps.cond(True, lambda x: x, lambda x: (x, x), x))
    with pytest.raises(TypeError, match="cond"):
        f.apply({}, None, X)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("cond", (True, jnp.sin, jnp.cos, X)),
        ("switch", (0, [jnp.sin], X)),
    ],
)
def test_only_inside_of_a_run(name, args):
    check_needs_a_frame(name, args)
