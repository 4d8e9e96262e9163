"""What the converters know of another library, and its arrays grouped by layer."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from purestate._convert.layouts import Layout


class View(NamedTuple):
    """An array of a layer: a whole array of the library, or a part of one.

    Attributes:
      name: the full name of the array.
      shape: the shape of the view.
      rows: the part of the first axis; None for all.
      transposed: whether the view is the array's transpose.
    """

    name: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    transposed: bool = False

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        x = arrays[self.name]
        if self.rows is not None:
            x = x[slice(*self.rows)]
        return (x.T if self.transposed else x).reshape(self.shape)

    def write(self, arrays: Mapping[str, np.ndarray], value: np.ndarray) -> None:
        """Writes into an array that exists; its dtype stays."""
        x = arrays[self.name]
        part = x if self.rows is None else x[slice(*self.rows)]
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
      units: groups arrays by layer; a single array of no layer is a unit with one nameless view.
      separator: what is between the parts of a name.
      optional: arrays that a layer may lack.
      refused: for kinds that cannot be converted, why.
    """

    name: str
    weights: str
    layouts: Mapping[str, Layout]
    units: Callable[[Mapping[str, np.ndarray]], dict[str, Unit]]
    separator: str = "."
    optional: frozenset[str] = frozenset()
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def view_of(arrays: Mapping[str, np.ndarray], name: str, **part: Any) -> View:
    """Returns a view of a whole array, or of some of its rows."""
    shape = arrays[name].shape
    if "rows" in part:
        start, stop = part["rows"]
        shape = (stop - start, *shape[1:])
    return View(name, shape, **part)


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
            units[name] = single(arrays, name)
    return units


def single(arrays: Mapping[str, np.ndarray], name: str) -> Unit:
    """A unit of one array that is not of a known layer."""
    return {"": view_of(arrays, name)}


def to_numpy(x: Any) -> np.ndarray:
    """Returns an array of any library as one of NumPy; a tensor of torch without importing torch."""
    if not hasattr(x, "detach"):
        return np.asarray(x)
    x = x.detach().cpu()
    torch = sys.modules["torch"]
    if x.dtype == torch.bfloat16:  # which NumPy does not know
        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def like(value: np.ndarray, given: Any) -> Any:
    """Returns an array as a tensor of torch if `given` is one."""
    if not hasattr(given, "detach"):
        return value
    torch = sys.modules["torch"]
    if given.dtype == torch.bfloat16:
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16).to(given.device)
    return torch.from_numpy(value).to(given.device)
