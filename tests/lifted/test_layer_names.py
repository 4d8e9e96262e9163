"""The variables of a stack, layer by layer: names there and back, values there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._lifted.layer_names import LayerNames, split_layers, stack_layers
from tests.core.raises import raises

STACKED = {
    "block": {"b": jnp.arange(3.0)},
    "block/linear": {"w": jnp.arange(12.0).reshape(3, 2, 2), "b": jnp.zeros([3, 2])},
    "block/~/norm": {"scale": jnp.ones([3, 4])},
}


@pytest.mark.parametrize("module", STACKED)
@pytest.mark.parametrize("index", [0, 1, 10, 123])
def test_names_there_and_back(module, index):
    names = LayerNames("block_{}")
    flat = names.stacked_to_flat(module, index)
    assert flat == f"block_{index}" + module.removeprefix("block")
    assert names.flat_to_stacked(flat) == (module, index)


@pytest.mark.parametrize(
    "module", ["block", "block_", "block_x", "block_01", "blocks_1", "a/block_1", "block_1_2"]
)
def test_what_is_no_layer(module):
    assert LayerNames("block_{}").flat_to_stacked(module) is None


@pytest.mark.parametrize("pattern", ["block", "block_{}_{}", "block{}", "a/b_{}", "{}", "1_{}"])
def test_patterns_that_name_no_layers(pattern):
    raises(ps.errors.LoopError, repr(pattern), "block_{}", call=lambda: LayerNames(pattern))


def test_a_module_outside_of_the_layer():
    call = lambda: LayerNames("block_{}").stacked_to_flat("linear", 0)
    raises(ps.errors.LoopError, "'block'", "'linear'", "Block(name='block')", call=call)


def test_values_there_and_back():
    names = LayerNames("block_{}")
    layers = split_layers(STACKED, 3, names)
    assert len(layers) == 9
    np.testing.assert_array_equal(layers["block_1/linear"]["w"], STACKED["block/linear"]["w"][1])
    # Variables of modules that are no layers stay out of the stack.
    again = stack_layers({**layers, "head": {"w": jnp.ones([2])}}, 3, names)
    assert list(again) == list(STACKED)
    jax.tree.map(np.testing.assert_array_equal, again, STACKED)


class Careless:
    """Gives all layers one name, and both modules one layer."""

    def stacked_to_flat(self, stacked_module_name, scan_idx):
        return "layer"

    def flat_to_stacked(self, unstacked_module_name):
        return "block", 0


def test_names_that_two_layers_have():
    raises(ps.errors.LoopError, "'layer'", call=lambda: split_layers(STACKED, 3, Careless()))
    two = {"a": {"w": jnp.ones([])}, "b": {"w": jnp.ones([])}}
    raises(ps.errors.LoopError, "'block'", "'w'", call=lambda: stack_layers(two, 1, Careless()))
