"""How many elements and steps there are: by any array of a pytree, or an error that says what differs."""

import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._lifted.sizes import num_elements, num_steps
from tests.core.raises import raises

A, B = jnp.zeros([3, 2]), jnp.zeros([2, 3])


@pytest.mark.parametrize(
    ("args", "in_axes", "expected"),
    [
        ((A,), 0, 3),
        ((A,), 1, 2),
        ((A,), -1, 2),
        ((A, B), (0, 1), 3),
        ((A, B), (None, 0), 2),
        (({"a": A, "b": {"c": A}},), 0, 3),
        (({"a": A, "b": B},), ({"a": 0, "b": None},), 3),
        ((A, 1.0), (0, None), 3),
    ],
)
def test_num_elements(args, in_axes, expected):
    assert num_elements(args, in_axes) == expected


def test_elements_that_do_not_agree():
    raises(ps.errors.MappingError, "[2, 3]", call=lambda: num_elements((A, B), 0))
    raises(ps.errors.MappingError, "axis_size", call=lambda: num_elements(({},), 0))


@pytest.mark.parametrize(
    ("xs", "length", "expected"),
    [([A], None, 3), ([A, A], 3, 3), ([], 4, 4), ([], 0, 0), ([A], jnp.int32(3), 3)],
)
def test_num_steps(xs, length, expected):
    assert num_steps(xs, length) == expected


@pytest.mark.parametrize(
    ("xs", "length", "words"),
    [
        ([], None, "pass `length`"),
        ([A, B], None, "3, 2"),
        ([A], 2, "length=2"),
        ([jnp.zeros([])], None, "without axes"),
        ([1.0], None, "a float"),
    ],
)
def test_steps_that_do_not_agree(xs, length, words):
    raises(ps.errors.LoopError, words, call=lambda: num_steps(xs, length))


def test_a_length_that_is_no_whole_number():
    with pytest.raises(TypeError):
        num_steps([A], 3.0)
