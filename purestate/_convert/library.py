"""What the converters know of another library, and its arrays grouped by layer."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from purestate._convert.layouts import Layout


class View(NamedTuple):
    """An array of a layer: a whole array of the library, or a part of one.

    Attributes:
      name: the full name of the array.
      shape: the shape of the view.
      part: the slices of it; none for all.
      transposed: whether the view is the array's transpose.
    """

    name: str
    shape: tuple[int, ...]
    part: tuple[slice, ...] = ()
    transposed: bool = False

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        x = arrays[self.name][self.part]
        return (x.T if self.transposed else x).reshape(self.shape)

    def write(self, arrays: Mapping[str, np.ndarray], value: np.ndarray) -> None:
        """Writes into an array that exists; its dtype stays."""
        part = arrays[self.name][self.part or ...]
        part[...] = value.T if self.transposed else value.reshape(part.shape)


Unit = dict[str, View]
"""A layer of the library: its arrays by their names in it."""


@dataclasses.dataclass(frozen=True)
class Library:
    """What the converters know of a library.

    Attributes:
      name: as in `from_torch`.
      weights: what its weights are called in messages.
      layouts: the layout of each kind of layer.
      flatten: from weights to `{name: array}`, in the order of creation if it is known.
      rebuild: from `{name: array}` and the weights that it is like to weights.
      units: groups arrays by layer; a single array of no layer is a unit with one nameless view.
      separator: the text between the parts of a name.
      optional: arrays that a layer may lack.
      refused: for kinds that cannot be converted, why.
    """

    name: str
    weights: str
    layouts: Mapping[str, Layout]
    flatten: Callable[[Any], dict[str, np.ndarray]]
    rebuild: Callable[[Mapping[str, np.ndarray], Any], Any]
    units: Callable[[Mapping[str, np.ndarray]], dict[str, Unit]]
    separator: str = "."
    optional: frozenset[str] = frozenset()
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def view_of(arrays: Mapping[str, np.ndarray], name: str, *part: slice) -> View:
    """Returns a view of a whole array, or of a part of it."""
    return View(name, arrays[name][part].shape, part)


def grouped(
    arrays: Mapping[str, np.ndarray], separator: str, layer_leaves: frozenset[str]
) -> dict[str, Unit]:
    """Groups arrays by the module in their names; those of no layer stay single."""
    units: dict[str, Unit] = {}
    for name in arrays:
        module, _, leaf = name.rpartition(separator)
        if leaf in layer_leaves:
            units.setdefault(module, {})[leaf] = view_of(arrays, name)
        else:
            units[name] = {"": view_of(arrays, name)}
    return units


def gru_resets_after(name: str) -> str:
    """Why a library has no GRU whose reset gate acts before the product."""
    return (
        f"the reset gate of a GRU of {name} acts after the product of the state with its weights."
        " Write ps.GRU(..., reset_after=True)"
    )


def as_matrix(unit: Unit, axes: int) -> Unit:
    """Returns a layer as a linear one; the first `axes` axes of its kernel are inputs."""
    shape = unit["kernel"].shape
    matrix = (math.prod(shape[:axes]), math.prod(shape[axes:]))
    shapes = {"kernel": matrix, "bias": matrix[1:]}
    return {leaf: view._replace(shape=shapes[leaf]) for leaf, view in unit.items()}
