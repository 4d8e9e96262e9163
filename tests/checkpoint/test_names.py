"""`to_flat` and `from_flat` are inverse for every tree, and names stay readable."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import purestate as ps
from purestate import checkpoint
from purestate._checkpoint.names import is_empty, keys_of

_PIECES = [
    "",
    ".",
    "%",
    "/",
    "~",
    "w",
    "%2E",
    "%25",
    "{}",
    "(0)",
    "[0]",
    "(1)",
    "()",
    "[]",
    "{None}",
]
_PIECES += ["__metadata__", "%7B}", "ü", "層", "\0", "\n", '"', "linear_0", "(٣)"]
KEYS = st.one_of(
    st.sampled_from(_PIECES),
    st.lists(st.sampled_from(_PIECES), max_size=4).map("".join),
    st.text(max_size=5),
)
LEAVES = st.integers(0, 9)
DICTS = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8),
    max_size=4,
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES | st.none(),
        lambda inner: (
            st.dictionaries(KEYS, inner, max_size=3)
            | st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def equal(a, b):
    """Whether two trees are equal, in the kinds of their containers and the order of their keys too."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@given(DICTS)
@settings(max_examples=400, deadline=None)
def test_inverse_for_nested_dicts(tree):
    flat = checkpoint.to_flat(tree)
    assert equal(checkpoint.from_flat(flat), tree)
    assert "__metadata__" not in flat
    assert all(isinstance(name, str) for name in flat)


@given(TREES)
@settings(max_examples=400, deadline=None)
def test_inverse_for_trees_with_tuples_lists_and_none(tree):
    assert equal(checkpoint.from_flat(checkpoint.to_flat(tree)), tree)


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_names_have_as_many_keys_as_the_tree_is_deep(tree):
    def leaves(node, keys):
        if isinstance(node, dict):
            return [found for key, child in node.items() for found in leaves(child, (*keys, key))]
        if isinstance(node, (list, tuple)):
            return [
                found for i, child in enumerate(node) for found in leaves(child, (*keys, str(i)))
            ]
        return [] if node is None else [keys]

    names = [name for name in checkpoint.to_flat(tree) if not is_empty(name)]
    assert [keys_of(name) for name in names] == leaves(tree, ())


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"mlp/~/linear_0": {"w": 1, "b": 2}}, ["mlp/~/linear_0.w", "mlp/~/linear_0.b"]),
        ({"params": {"~": {"w": 1}}, "state": {}}, ["params.~.w", "state.{}"]),
        ({"a.b": {"c": 1}, "a": {"b.c": 2}}, ["a%2Eb.c", "a.b%2Ec"]),
        ({"a/b": {"c": 1}, "a": {"b/c": 2}}, ["a/b.c", "a.b/c"]),
        ({"100%": 1, "": 2}, ["100%25", ""]),
        ({"h": (1, [2], (), [], None)}, ["h.(0)", "h.(1).[0]", "h.(2).()", "h.(3).[]", "h.(4).{None}"]),
        ({"(0)": 1, "{}": 2, "(x)": 3}, ["%280)", "%7B}", "(x)"]),
        ({"__metadata__": 1}, ["%5F_metadata__"]),
        (({"w": 1}, {}), ["(0).w", "(1).{}"]),
        ({}, []),
        ((), ["()"]),
        (None, ["{None}"]),
    ],
)  # fmt: skip
def test_names(tree, names):
    flat = checkpoint.to_flat(tree)
    assert list(flat) == names
    assert equal(checkpoint.from_flat(flat), tree)


class Both(NamedTuple):
    params: dict
    state: dict


def test_a_named_tuple_is_a_dict_of_its_fields():
    assert checkpoint.to_flat(Both({"w": 1}, {"n": 2})) == {"params.w": 1, "state.n": 2}


def test_names_of_other_libraries_are_nested_by_their_dots():
    flat = {"encoder.layer.0.weight": 1, "encoder.layer.1.weight": 2, "100%": 3, "%zz.(a)": 4}
    assert checkpoint.from_flat(flat) == {
        "encoder": {"layer": {"0": {"weight": 1}, "1": {"weight": 2}}},
        "100%": 3,
        "%zz": {"(a)": 4},
    }


@pytest.mark.parametrize(
    "flat", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"x": 0, "a.b.c": 2, "a.b": 1}]
)
def test_a_name_inside_another_one(flat):
    with pytest.raises(ps.errors.CheckpointError, match=r"'a(\.b)?' and 'a\.b|'a\.b(\.c)?' and 'a"):
        checkpoint.from_flat(flat)


@pytest.mark.parametrize("tree", [{"a": {1: np.ones(2)}}, {1: 2}, {None: 1}, {("a", "b"): 1}])
def test_keys_have_to_be_strings(tree):
    with pytest.raises(ps.errors.CheckpointError, match="Names in a file are strings"):
        checkpoint.to_flat(tree)


@pytest.mark.parametrize("leaf", [np.ones(2), 3, "text", {1, 2}])
def test_a_leaf_is_not_a_tree(leaf):
    with pytest.raises(ps.errors.CheckpointError, match="takes a dict of arrays"):
        checkpoint.to_flat(leaf)
