"""Paths: the names of classes in snake_case, and full names of variables, as dm-haiku writes them."""

import random

import haiku as hk
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core import path

CLASSES = [
    "Linear",
    "Conv2D",
    "MLP",
    "LayerNorm",
    "A",
    "aB",
    "ABCDef",
    "X2Y",
    "Net_2",
    "_P",
    "GRU2d",
]


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_classes_are_those_of_dm_haiku(name):
    ours, theirs = (
        lib.transform(lambda lib=lib: type(name, (lib.Module,), {})().name).apply({}, None)
        for lib in (ps, hk)
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv", ("conv", None)),
        ("conv_2", ("conv", 2)),
        ("conv_0", ("conv", 0)),
        ("conv_02", ("conv_02", None)),
        ("conv_", ("conv_", None)),
        ("a_1_2", ("a_1", 2)),
        ("_3", ("", 3)),
    ],
)
def test_numbers_of_names(name, expected):
    assert path.split_number(name) == expected


def test_a_variable_path_can_be_taken_apart():
    choose = random.Random(0)
    for _ in range(100):
        module = "/".join(choose.choices(["a", "~", "linear_1", "~encode"], k=choose.randint(1, 4)))
        full = path.variable_path(module, "w")
        assert path.split_variable_path(full) == (module, "w")
        assert path.is_inside(module, module)
        assert path.is_inside(f"{module}/below", module)
        assert not path.is_inside(f"{module}_1", module)
        assert path.outer_path(full) == module
        assert path.local_name(full) == "w"
    assert path.split_variable_path("w") == ("", "w")


def test_full_names_are_those_that_hooks_and_specs_see():
    class Net(ps.Module):
        def encode(self):
            return ps.Bias()(ps.get_parameter("w", [1, 1], init=jnp.ones))

    seen = []

    def look(next_getter, value, context):
        seen.append(context.full_name)
        return next_getter(value)

    def f():
        with ps.custom_getter(look):
            return Net().encode()

    params = ps.transform(f).init(None)
    assert seen == ["net/w", "net/~encode/bias/b"]
    assert [path.variable_path(m, n) for m, names in params.items() for n in names] == seen


@pytest.mark.parametrize("name", [3, None, ("a", "b")])
def test_a_scope_is_called_by_a_string(name):
    with pytest.raises(ps.errors.ModuleNameError, match="string"):
        ps.transform(lambda: ps.name_scope(name)).apply({}, None)


def test_a_name_is_parsed_once():
    calls = []
    memo = path._Memo(lambda name: calls.append(name) or name.upper())
    assert [memo["a"], memo["a"], memo["b"]] == ["A", "A", "B"]
    assert calls == ["a", "b"]
