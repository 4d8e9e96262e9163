"""`cond`, `switch`, `while_loop`, `fori_loop`: as Python's own `if` and loops over the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.arange(3.0)
KEY = jax.random.key(0, impl="unsafe_rbg")  # quick to compile
PARAMS = {name: {"w": jnp.full([3], value)} for name, value in (("a", 2.0), ("b", 3.0))}
STATE = {name: {"n": jnp.int32(value)} for name, value in (("a", 5), ("b", 7))}


class Step(ps.Module):
    """Multiplies by a parameter of its own, and counts."""

    def __call__(self, x):
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        return x * ps.get_parameter("w", [3], init=jnp.ones) + n


def python_cond(pred, true_fun, false_fun, *operands):
    return true_fun(*operands) if pred else false_fun(*operands)


def python_switch(index, branches, *operands):
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def python_fori_loop(lower, upper, body, value):
    for i in range(int(lower), int(upper)):
        value = body(i, value)
    return value


def python_while_loop(condition, body, value):
    while condition(value):
        value = body(value)
    return value


def program(name, library):
    """A function of `(x, number)` that uses one of them."""

    def f(x, number):
        a, b = Step(name="a"), Step(name="b")
        if name == "cond":
            return library(number > 0, a, b, x)
        if name == "switch":
            return library(number, [a, b, lambda x: x], x)
        if name == "fori_loop":
            return library(0, number, lambda i, x: a(x) + i, x)
        if ps.running_init():
            return a(x)
        return library(lambda v: v[1] > 0, lambda v: (a(v[0]), v[1] - 1), (x, number))[0]

    return f


BOTH = {
    "cond": (ps.cond, python_cond, [1, 0, -1]),
    "switch": (ps.switch, python_switch, [0, 1, 2, -3, 9]),
    "fori_loop": (ps.fori_loop, python_fori_loop, [0, 1, 4, -2]),
    "while_loop": (ps.while_loop, python_while_loop, [0, 1, 3]),
}
CASES = [(name, number) for name, (_, _, numbers) in BOTH.items() for number in numbers]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_apply_is_that_of_python(name, number):
    ours, plain, _ = BOTH[name]
    pair = ps.transform_with_state(program(name, ours))
    out, state = jax.jit(pair.apply)(PARAMS, STATE, None, X, number)
    by_python = ps.transform_with_state(program(name, plain))
    expected, new = by_python.apply(PARAMS, STATE, None, X, number)
    np.testing.assert_array_equal(out, expected)
    assert jax.tree.map(int, state) == jax.tree.map(int, new)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_init_makes_what_any_way_through_needs(name, number):
    params, state = ps.transform_with_state(program(name, BOTH[name][0])).init(None, X, number)
    needed = ["a", "b"] if name in ("cond", "switch") else ["a"]
    assert sorted(params) == needed
    assert jax.tree.map(int, state) == {module: {"n": 0} for module in needed}


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
        lambda draw: ps.cond(True, draw, lambda: draw() + draw()),
        lambda draw: ps.cond(False, draw, lambda: draw() + draw()),
        lambda draw: ps.switch(1, [draw, lambda: jnp.uint32(0)]),
        lambda draw: ps.fori_loop(0, 3, lambda i, x: draw(), jnp.uint32(0)),
        lambda draw: ps.while_loop(lambda v: v[0] < 3, lambda v: (v[0] + 1, draw()), (0, draw())),
    ],
)
def test_keys_after_it_are_new_ones(use):
    draw = lambda: jax.random.bits(ps.next_rng_key())

    def f():
        return jnp.stack([draw(), *jax.tree.leaves(use(draw))[-1:], draw(), draw()])

    values = ps.transform(f).apply({}, KEY)
    assert len(set(values.tolist())) == 4


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
        ("cond", (True, jnp.sin, jnp.cos, X)),
        ("switch", (0, [jnp.sin], X)),
        ("fori_loop", (0, 1, lambda i, x: x, X)),
        ("while_loop", (lambda x: False, jnp.sin, X)),
    ],
)
def test_only_inside_of_a_run(name, args):
    with pytest.raises(ps.errors.FrameError, match=rf"`ps.{name}` \(outside, `jax.lax.{name}`"):
        getattr(ps, name)(*args)
