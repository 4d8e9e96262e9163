"""Paths of attributes, and TensorFlow's keys for them."""

from hypothesis import given
from hypothesis import strategies as st

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
