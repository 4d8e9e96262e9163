"""Which variable each slot belongs to."""

import numpy as np
import pytest

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError
from purestate._tf_checkpoint.object_graph import Node, ObjectGraph, add_variable
from purestate._tf_checkpoint.slot_order import flattened
from tests.tf_checkpoint.fixtures import attributes, params_and_state, prefix, where


def test_another_order_is_told_from_names():
    slots = checkpoint.read_slots(prefix("mlp_reversed"), params_and_state("mlp_reversed")[0])
    recorded = attributes("mlp_reversed")
    reversed_places = [("linear_1", "w"), ("linear_1", "b"), ("linear_0", "w"), ("linear_0", "b")]
    for i, (module, name) in enumerate(reversed_places):
        np.testing.assert_array_equal(
            slots["accumulated_momentum"][f"mlp/{module}"][name],
            recorded[f"optimizer/accumulated_momentum/{i}"],
        )


def test_another_order_of_equal_names_is_an_error():
    with pytest.raises(CheckpointError, match="in another order than"):
        params, _ = params_and_state("twins_reversed")
        told = where("twins_reversed")
        checkpoint.read_slots(prefix("twins_reversed"), params, attributes=told)


def test_slots_of_another_model_are_an_error():
    params, _ = params_and_state("nested")
    first = {m.replace("mlp_1", "mlp"): v for m, v in params.items() if "mlp_1" in m}
    with pytest.raises(CheckpointError, match="has no object 'optimizer'"):
        checkpoint.read_slots(prefix("nested"), first, root="model/first")
    some = {"linear": params_and_state("two_linears")[0]["two_linears/linear"]}
    with pytest.raises(CheckpointError, match="4, and not one for each of the 2 params"):
        checkpoint.read_slots(
            prefix("two_linears"),
            some,
            root="model/alpha",
            attributes={name: ("linear", name) for name in "wb"},
        )


def test_an_optimizer_before_its_first_step():
    with pytest.raises(CheckpointError, match="saved before its first step"):
        params, _ = params_and_state("before_a_step")
        checkpoint.read_slots(prefix("before_a_step"), params, "other")


def test_slot_variables_of_tensorflow_itself():
    params, _ = params_and_state("mlp_reversed")  # the same model
    slots = checkpoint.read_slots(prefix("slot_variables"), params)
    loaded = checkpoint.load(prefix("slot_variables"))
    for layer in (0, 1):
        for name in "wb":
            for slot in "mv":
                np.testing.assert_array_equal(
                    slots[slot][f"mlp/linear_{layer}"][name],
                    loaded[f"model/_layers/{layer}/{name}/.OPTIMIZER_SLOT/optimizer/{slot}"],
                )
    np.testing.assert_allclose(slots["beta1_power"], 0.9**2, rtol=1e-6)
    np.testing.assert_allclose(slots["m"]["mlp/linear_0"]["b"], 0.1, rtol=1e-6)


def test_order_of_variables_is_that_of_tf_module():
    """Attributes by name, lists as they are, and submodules after all variables of a module."""
    graph = ObjectGraph("", [Node()])
    names = ["z", "layers/10/w", "layers/2/b", "layers/2/a", "a/inner/w", "a/x", "ws/1", "ws/0"]
    for name in names:
        add_variable(graph, f"model/{name}", name)
    order = [graph.nodes[at].full_name for at in flattened(graph, graph.root("model"))]
    assert order == [
        "ws/0",
        "ws/1",
        "z",
        "a/x",
        "a/inner/w",
        "layers/2/a",
        "layers/2/b",
        "layers/10/w",
    ]
