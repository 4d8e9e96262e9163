"""Paths of attributes, and TensorFlow's keys for them."""

from hypothesis import given
from hypothesis import strategies as st

import purestate.sonnet as snt
from purestate._tf_checkpoint import attribute_paths as paths

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4)


def test_paths_of_keys():
    assert paths.attribute_path("model/_layers/0/w" + VALUE) == "model/_layers/0/w"
    assert paths.attribute_path("model/b.Sx..y/w" + VALUE) == r"model/b\/x.y/w"
    assert paths.attribute_path("model/..S/w" + VALUE) == "model/.S/w"
    assert paths.attribute_path("_CHECKPOINTABLE_OBJECT_GRAPH") == "_CHECKPOINTABLE_OBJECT_GRAPH"


@given(NAMES)
def test_round_trip(names: list[str]):
    assert paths.split_path(paths.join_path(names)) == names
    assert paths.attribute_path(paths.variable_key(names)) == paths.join_path(names)


def test_keys_of_dicts_in_a_module():
    """`snt.attribute_paths` writes them as `load` does."""
    net = snt.Module()
    net.heads = {"b/x.y": snt.Variable(0.0, name="w"), "b": {"x\\": snt.Variable(1.0, name="v")}}
    assert sorted(snt.attribute_paths(net)) == sorted(
        paths.join_path(["heads", *keys]) for keys in (["b/x.y"], ["b", "x\\"])
    )
