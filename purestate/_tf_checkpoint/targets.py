"""The variables of a model: what a checkpoint is read into, or written from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._checkpoint.errors import CheckpointError
from purestate._core.errors import kind_of
from purestate._editing.array_format import format_array
from purestate._editing.bundles import traverse
from purestate._tf_checkpoint.naming import Place

Bundles = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Target:
    """A variable of the model.

    Attributes:
      is_param: whether it is one of the params, and not of the state.
      module: path of its module.
      name: its name.
      leaf: its value: an array or a `jax.ShapeDtypeStruct`.
    """

    is_param: bool
    module: str
    name: str
    leaf: Any

    @property
    def shown(self) -> str:
        return f"{self.module}/{self.name}"

    def problem(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[str, str] | None:
        """Returns both sides in words if an array of the checkpoint does not fit."""
        there = jax.ShapeDtypeStruct(shape, dtype)
        if shape == tuple(self.leaf.shape) and self.leaf.dtype in (dtype, in_jax(dtype)):
            return None
        return format_array(there), format_array(self.leaf)

    def array(self) -> np.ndarray:
        """Returns the value; raises if there is only a shape."""
        value = np.asarray(self.leaf)
        if value.dtype == object:
            raise CheckpointError(
                f"The value of {self.shown!r} is {kind_of(self.leaf)}, and save needs an array."
            )
        return value

    def fitted(self, array: np.ndarray) -> Any:
        """Returns an array of the checkpoint as the model has it."""
        narrow = array.astype(self.leaf.dtype)
        if array.dtype.kind in "iu" and not np.array_equal(narrow, array):
            raise CheckpointError(
                f"{self.shown!r} has the value {array.max()} in the checkpoint, which"
                f" {self.leaf.dtype} of the model cannot hold. Set jax_enable_x64."
            )
        return narrow if isinstance(self.leaf, np.ndarray) else jnp.asarray(narrow)


def in_jax(dtype: np.dtype) -> Any:
    """Returns what JAX makes of a dtype: without `jax_enable_x64`, int32 of int64."""
    return jax.dtypes.canonicalize_dtype(dtype)


class Targets:
    """All variables of a model.

    Args:
      params: `{module path: {name: array}}`.
      state: the same.
    """

    def __init__(self, params: Bundles, state: Bundles):
        self.all: list[Target] = []
        self._exact: dict[Place, list[Target]] = {}
        self._plain: dict[Place, list[Target]] = {}
        for is_param, bundles in ((True, params), (False, state)):
            for module, name, leaf in traverse(bundles):
                target = Target(is_param, module, name, _checked(module, name, leaf))
                self.all.append(target)
                self._exact.setdefault((module, name), []).append(target)
                self._plain.setdefault((_plain(module), name), []).append(target)

    def exactly(self, module: str, name: str) -> list[Target]:
        """Returns the variables at a place: several if both params and state have it."""
        return self._exact.get((module, name), [])

    def plainly(self, module: str, name: str) -> list[Target]:
        """Returns the variables at a place; the names of methods in paths do not count."""
        return self._plain.get((_plain(module), name), [])


def full_path(target: Target) -> tuple[str, ...]:
    """Returns path and name, split; the names of methods do not count."""
    return split_name(f"{target.module}/{target.name}")


def split_name(full_name: str) -> tuple[str, ...]:
    return tuple(part for part in full_name.split("/") if part and not part.startswith("~"))


def _plain(module: str) -> str:
    return "/".join(part for part in module.split("/") if not part.startswith("~"))


def _checked(module: str, name: str, leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex)):
        return np.asarray(leaf)
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        raise CheckpointError(
            f"The variable {name!r} of the module {module!r} must be an array, but is"
            f" {kind_of(leaf)}."
        )
    return leaf
