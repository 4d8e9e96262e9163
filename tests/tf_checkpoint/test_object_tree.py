"""Likely names of models that no recorded checkpoint has, from graphs that the tests make."""

import pytest

from purestate._tf_checkpoint.naming import name_variables
from purestate._tf_checkpoint.object_graph import Node, ObjectGraph, add_variable


def named(variables: dict[str, str], deduces: bool = True) -> dict[str, str]:
    """Returns `{path of attributes: likely name in purestate}`; raises if it has no likely order."""
    graph = ObjectGraph("", [Node()])
    for path, full_name in variables.items():
        add_variable(graph, f"model/{path}", full_name)
    root = graph.root("model")
    result = name_variables(graph, root, lambda at: (), deduces)
    assert not result.unordered, result.unordered
    return {path: "/".join(result.places[at]) for path, at in graph.variables(root)}


def test_three_modules_of_one_name_in_a_list():
    assert named({f"layers/{i}/w": "net/linear/w" for i in range(3)} | {"b": "net/b"}) == {
        "layers/0/w": "net/linear/w",
        "layers/1/w": "net/linear_1/w",
        "layers/2/w": "net/linear_2/w",
        "b": "net/b",
    }


def test_numbers_in_names_are_kept():
    names = {"a/w": "net/linear_1/w", "c/w": "net/linear/w", "x": "net/x"}
    assert named(names) == {"a/w": "net/linear_1/w", "c/w": "net/linear_2/w", "x": "net/x"}


def test_a_shared_module_is_named_once():
    graph = ObjectGraph("", [Node()])
    for path, full_name in {"a/w": "net/linear/w", "b/w": "net/linear/w", "x": "net/x"}.items():
        add_variable(graph, f"model/{path}", full_name)
    root = graph.root("model")
    shared = graph.nodes[root].children["a"]
    graph.nodes[root].children["again"] = shared
    result = name_variables(graph, root, lambda at: (), True)
    assert sorted(result.places.values()) == [
        ("net", "x"),
        ("net/linear", "w"),
        ("net/linear_1", "w"),
    ]


def test_a_cycle_ends():
    graph = ObjectGraph("", [Node()])
    add_variable(graph, "model/a/w", "net/linear/w")
    root = graph.root("model")
    graph.nodes[graph.nodes[root].children["a"]].children["parent"] = root
    assert name_variables(graph, root, lambda at: (), True).places


def test_containers_in_a_module_are_not_modules():
    """A Sequential of Linears that its owner made, in an owner with variables of its own."""
    names = {
        "scale": "net/scale",
        "body/_layers/0/w": "net/linear/w",
        "body/_layers/1/w": "net/linear/w",
    }
    assert named(names) == {
        "scale": "net/scale",
        "body/_layers/0/w": "net/linear/w",
        "body/_layers/1/w": "net/linear_1/w",
    }


@pytest.mark.parametrize(
    "names",
    [
        # Attributes of an object that made neither.
        {"a/w": "linear/w", "b/w": "linear/w"},
        # Two lists of an object that made neither.
        {"a/0/w": "linear/w", "b/0/w": "linear/w", "x": "net/x"},
        # Two MLPs that were made outside.
        {"a/layers/0/w": "mlp/linear_0/w", "b/layers/0/w": "mlp/linear_0/w"},
    ],
)
def test_orders_that_are_not_known(names: dict[str, str]):
    with pytest.raises(AssertionError):
        named(names)


def test_two_lists_of_one_module():
    names = {"b/0/w": "net/linear/w", "a/0/w": "net/linear/w", "a/1": "net/x", "b/1": "net/x"}
    assert named(names) == {
        "b/0/w": "net/linear/w",
        "a/0/w": "net/linear_1/w",
        "b/1": "net/x",
        "a/1": "net/x_1",
    }


def test_two_meanings():
    """Two containers with one Linear each, or two modules `net`."""
    names = {f"{i}/layers/0/w": "net/linear/w" for i in range(2)}
    assert named(names)["1/layers/0/w"] == "net_1/linear/w"
    assert named(names, deduces=False)["1/layers/0/w"] == "net/linear_1/w"
