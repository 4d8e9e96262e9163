"""The variables of a stack of layers, kept layer by layer: names, splitting, stacking."""

import re
from typing import Protocol

import jax
import jax.numpy as jnp

from purestate._core.collection import Bundle
from purestate._core.errors import LoopError
from purestate._core.frame import Frame
from purestate._core.path import is_inside


class LayerStackTransparencyMapping(Protocol):
    """How the names of stacked modules and those of the single layers belong together."""

    def stacked_to_flat(self, stacked_module_name: str, scan_idx: int) -> str:
        """Returns the name of layer `scan_idx` of a stacked module."""
        ...

    def flat_to_stacked(self, unstacked_module_name: str) -> tuple[str, int] | None:
        """Returns the stacked module and index of a layer; None for any other module."""
        ...


class LayerNames:
    """Names layers by a pattern: "block/linear" of layer 2 is "block_2/linear"."""

    def __init__(self, pattern: str):
        if pattern.count("{}") != 1 or not pattern.removesuffix("_{}").isidentifier():
            raise LoopError(
                f"layer_stack(layers={pattern!r}): a pattern has to be a name that ends in _{{}},"
                " as 'block_{}' does."
            )
        self._pattern = pattern
        self._module = pattern.removesuffix("_{}")
        # "block_2" and "block_2/linear", but neither "block_02" nor "block_2x".
        self._flat = re.compile(re.escape(self._module) + r"_(0|[1-9][0-9]*)(/.*)?")

    def stacked_to_flat(self, stacked_module_name: str, scan_idx: int) -> str:
        if not is_inside(stacked_module_name, self._module):
            raise LoopError(
                f"layer_stack(layers={self._pattern!r}) needs a layer to make everything in one"
                f" module called {self._module!r}, but it makes {stacked_module_name!r}. Put it"
                f" into a module, `Block(name={self._module!r})(x)`, or write `with"
                " ps.name_scope(...)`."
            )
        return self._pattern.format(scan_idx) + stacked_module_name[len(self._module) :]

    def flat_to_stacked(self, unstacked_module_name: str) -> tuple[str, int] | None:
        found = self._flat.fullmatch(unstacked_module_name)
        return None if found is None else (self._module + (found[2] or ""), int(found[1]))


def label_layers(
    frame: Frame, count: int, mapping: LayerStackTransparencyMapping, start: int
) -> None:
    """Has the variables of each layer belong to the collections that the layer function said."""
    frame.ledger.inner_labels.append(
        {
            (mapping.stacked_to_flat(module, index), name): collection
            for labels in frame.ledger.inner_labels[start:]
            for (module, name), collection in labels.items()
            for index in range(count)
        }
    )


def split_layers(stacked: Bundle, count: int, mapping: LayerStackTransparencyMapping) -> Bundle:
    """Returns stacked variables layer by layer, under the names of the layers."""
    layers: Bundle = {}
    for module, variables in stacked.items():
        for index in range(count):
            name = mapping.stacked_to_flat(module, index)
            # Two layers of one name would share their parameters, silently.
            if name in layers:
                raise LoopError(
                    f"The transparency_map gives two layers the name {name!r}; the second is"
                    f" {module!r}, {index}."
                )
            layers[name] = jax.tree.map(lambda leaf, index=index: leaf[index], variables)
    return layers


def stack_layers(layers: Bundle, count: int, mapping: LayerStackTransparencyMapping) -> Bundle:
    """Returns the variables of all layers, stacked along a new first axis."""
    trees: list[Bundle] = [{} for _ in range(count)]
    for module, variables in layers.items():
        # The frame has other modules too; the mapping says None for those.
        found = mapping.flat_to_stacked(module)
        if found is None:
            continue
        name, index = found
        into = trees[index].setdefault(name, {})
        for key, value in variables.items():
            if key in into:
                raise LoopError(
                    f"The transparency_map takes two modules for layer {index} of {name!r}; both"
                    f" have {key!r}."
                )
            into[key] = value
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
