"""`trees_equal` against NumPy, for each kind of leaf and difference, and inside `jax.jit`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

F32 = jnp.float32
ONES = jnp.ones([2, 3])
NAN = jnp.array([1.0, jnp.nan])
KEY = jax.random.key(0)

# Two trees, options, whether they are equal.
CASES = {
    "same": (ONES, jnp.ones([2, 3]), {}, True),
    "value": (ONES, ONES.at[1, 2].set(2), {}, False),
    "shape": (ONES, jnp.ones([3, 2]), {}, False),
    "shape that broadcasts": (ONES, jnp.ones([1, 3]), {}, False),
    "dtype": (ONES, ONES.astype(jnp.bfloat16), {}, False),
    "float and integer": (ONES, jnp.ones([2, 3], int), {}, False),
    "numpy": (ONES, np.ones([2, 3], np.float32), {}, True),
    "numpy's float64": (ONES, np.ones([2, 3]), {}, False),
    "float64 of numpy": (np.array([1.0]), np.array([1 + 1e-12]), {}, False),
    "missing": ({"a": ONES}, {"a": ONES, "b": ONES}, {}, False),
    "name": ({"a": ONES}, {"b": ONES}, {}, False),
    "list and tuple": ([ONES], (ONES,), {}, False),
    "hole": ({"a": None}, {"a": ONES}, {}, False),
    "holes": ({"a": None}, {"a": None}, {}, True),
    "order of a dict": ({"a": ONES, "b": NAN[:1]}, {"b": NAN[:1], "a": ONES}, {}, True),
    "empty": ({}, {}, {}, True),
    "empty array": (jnp.ones([0, 3]), jnp.ones([0, 3]), {}, True),
    "nan": (NAN, NAN, {}, False),
    "equal nan": (NAN, NAN, {"equal_nan": True}, True),
    "nan and number": (NAN, jnp.ones([2]), {"equal_nan": True}, False),
    "nan of bfloat16": (NAN.astype(jnp.bfloat16),) * 2 + ({"equal_nan": True}, True),
    "nan in python": (float("nan"), float("nan"), {"equal_nan": True}, True),
    "atol": (ONES, ONES + 0.01, {"atol": 0.02}, True),
    "small atol": (ONES, ONES + 0.03, {"atol": 0.02}, False),
    "rtol": (100 * ONES, 101 * ONES, {"rtol": 0.02}, True),
    "atol of bfloat16": (
        ONES.astype(jnp.bfloat16),
        1.01 * ONES.astype(jnp.bfloat16),
        {"atol": 0.02},
        True,
    ),
    "atol of integers": (jnp.arange(2), jnp.arange(2) + 1, {"atol": 2.0}, False),
    "infinite": (jnp.array([jnp.inf]), jnp.array([jnp.inf]), {"atol": 1.0}, True),
    "infinities": (jnp.array([jnp.inf]), jnp.array([-jnp.inf]), {"atol": 1.0}, False),
    "signed zero": (jnp.zeros([1]), -jnp.zeros([1]), {}, True),
    "complex": (jnp.array([1 + 2j]), jnp.array([1 + 3j]), {}, False),
    "bool": (jnp.array([True]), jnp.array([True]), {}, True),
    "float8": (ONES.astype(jnp.float8_e4m3fn), ONES.astype(jnp.float8_e4m3fn), {}, True),
    "key": (KEY, jax.random.key(0), {}, True),
    "other key": (KEY, jax.random.key(1), {}, False),
    "other kind of key": (KEY, jax.random.key(0, impl="rbg"), {}, False),
    "keys": (jax.random.split(KEY, 2), jax.random.split(KEY, 3), {}, False),
    "weak": (jnp.asarray(2.0), jnp.asarray(2.0, F32), {}, True),
    "weak type": (jnp.asarray(2.0), jnp.asarray(2.0, F32), {"weak_types": True}, False),
    "both weak": (jnp.asarray(2.0), jnp.asarray(2.0), {"weak_types": True}, True),
    "python": (1, 1, {}, True),
    "python's float": (1, 1.0, {}, False),
    "python and array": (1.0, jnp.asarray(1.0), {}, False),
    "text": ("a", "a", {}, True),
    "texts": ("a", "b", {}, False),
    "spec": (jax.ShapeDtypeStruct([2], F32), jax.ShapeDtypeStruct([2], F32), {}, True),
    "spec and array": (jax.ShapeDtypeStruct([2], F32), jnp.ones([2]), {}, False),
}


@pytest.mark.parametrize("name", CASES)
def test_each_case(name: str):
    a, b, options, equal = CASES[name]
    for one, other in ((a, b), (b, a)):
        assert ps.surgery.trees_equal({"x": one}, {"x": other}, **options) is equal


ARRAYS = [
    name
    for name, (a, b, *_) in CASES.items()
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((a, b)))
]


def test_compiled_it_says_the_same():
    def answers(pairs):
        return {
            name: jnp.asarray(ps.surgery.trees_equal(*pair, **CASES[name][2]))
            for name, pair in pairs.items()
        }

    found = jax.jit(answers)({name: CASES[name][:2] for name in ARRAYS})
    assert {name: bool(answer) for name, answer in found.items()} == {
        name: CASES[name][3] for name in ARRAYS
    }


def test_traced_only_if_the_values_decide():
    seen = {}

    def f(x):
        seen["values"] = ps.surgery.trees_equal(x, ONES)
        seen["shapes"] = ps.surgery.trees_equal(x, ONES[:1])
        return seen["values"]

    assert jax.jit(f)(ONES).shape == ()
    assert isinstance(seen["values"], jax.core.Tracer)
    assert seen["shapes"] is False
    assert jax.vmap(lambda x: ps.surgery.trees_equal(x, ONES[0]))(ONES.at[1].set(2)).tolist() == [
        True,
        False,
    ]


def test_models_and_train_states():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    params = f.init(KEY, ONES)
    assert ps.surgery.trees_equal(ps.bind(f, params), ps.bind(f, params).copy()) is True
    twice = jax.tree.map(lambda p: 2 * p, params)
    assert ps.surgery.trees_equal(ps.bind(f, params), ps.bind(f, twice)) is False
