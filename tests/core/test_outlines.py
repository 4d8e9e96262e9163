"""Outlines: a value in a few words, never a dump of arrays, and never an error of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core.outlines import outline, outline_argument, outline_arguments

X = jnp.ones([2, 3])
BIG = np.arange(10**6, dtype=np.float32)


class NoShape:
    @property
    def shape(self):
        raise RuntimeError("no shape")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        ({}, "an empty dict"),
        ({"a": X}, "a dict with 1 entry ('a')"),
        (dict.fromkeys("abcd", X), "a dict with 4 entries ('a', 'b', 'c', ...)"),
        (X, "an array of shape (2, 3) and dtype float32"),
        (BIG, "an array of shape (1000000,) and dtype float32"),
        ([X], "a list"),
        (ps.Linear, "the class Linear"),
    ],
)
def test_outline(value, expected):
    assert outline(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X, "float32[2,3]"),
        (jax.random.key(0), "key<fry>[]"),
        (True, "True"),
        (0.5, "0.5"),
        ("word", "'word'"),
        ("a text that goes on and on", "'a text that goes on ...'"),
        (None, "None"),
        ([], "an empty tree"),
        ([X], "float32[2,3]"),
        ((X, 1), "a tree of 2 (float32[2,3], 1)"),
        ({"a": X, "b": [1, 2, 3]}, "a tree of 4 (float32[2,3], 1, 2, ...)"),
        (ps.Linear, "the class Linear"),
        (len, "a builtin_function_or_method"),
        ({1: X, "a": X}, "a dict"),  # keys that cannot be sorted
        (NoShape(), "a NoShape"),
    ],
)
def test_outline_of_an_argument(value, expected):
    assert outline_argument(value) == expected


def test_arguments_as_in_a_call():
    assert outline_arguments((X, True), {"rate": 0.5}) == "float32[2,3], True, rate=0.5"
    assert outline_arguments((), {}) == ""
    assert outline_arguments(tuple(range(9)), {"a": 1}) == "0, 1, 2, 3, 4, 5, ..."


@pytest.mark.parametrize("value", [BIG, [BIG] * 100, {"a" * 50: BIG}, "x" * 10**6])
def test_they_are_short(value):
    assert len(outline(value)) < 100
    assert len(outline_argument(value)) < 100


@pytest.mark.parametrize("value", [{1: X, "a": X}, NoShape(), [NoShape(), X]])
def test_what_cannot_be_outlined_hides_no_error(value):
    with pytest.raises(ps.errors.CallError, match="missing 1 required positional argument"):
        ps.transform(lambda x, y: x).init(None, value)
    with pytest.raises(ps.errors.ConfigError, match="one of 'error'"):
        ps.config.set(leaks=value)
