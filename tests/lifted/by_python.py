"""Programs with `cond`, `switch`, `while_loop` and `fori_loop`, and the same with Python's own `if` and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

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


def cases(*names):
    """The numbers that each program is called with."""
    return [(name, number) for name in names for number in BOTH[name][2]]


def check_apply(name, number):
    """`apply` is that of the program in plain Python."""
    ours, plain, _ = BOTH[name]
    pair = ps.transform_with_state(program(name, ours))
    out, state = jax.jit(pair.apply)(PARAMS, STATE, None, X, number)
    by_python = ps.transform_with_state(program(name, plain))
    expected, new = by_python.apply(PARAMS, STATE, None, X, number)
    np.testing.assert_array_equal(out, expected)
    assert jax.tree.map(int, state) == jax.tree.map(int, new)


def check_init(name, number, needed):
    """`init` makes the variables of the modules `needed`, with initial values."""
    params, state = ps.transform_with_state(program(name, BOTH[name][0])).init(None, X, number)
    assert sorted(params) == needed
    assert jax.tree.map(int, state) == {module: {"n": 0} for module in needed}


def draw():
    """Draws a number from a key of its own."""
    return jax.random.bits(ps.next_rng_key())


def check_keys(use):
    """Keys before, inside and after `use(draw)` are different ones."""

    def f():
        return jnp.stack([draw(), *jax.tree.leaves(use(draw))[-1:], draw(), draw()])

    values = ps.transform(f).apply({}, KEY)
    assert len(set(values.tolist())) == 4


def check_needs_a_frame(name, args):
    """Outside of a run, the error names JAX's function."""
    with pytest.raises(ps.errors.FrameError, match=rf"`ps.{name}` \(outside, `jax.lax.{name}`"):
        getattr(ps, name)(*args)
