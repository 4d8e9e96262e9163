"""Shapes and dtypes of inputs, in which a dimension may have a name."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._export.errors import ExportError


def read_specs(specs: Any, constraints: Sequence[str]) -> tuple[Any, ...]:
    """Returns a tree of `jax.ShapeDtypeStruct` for each input.

    A name means the same dimension in all of them, so they share a scope.
    """
    scope = jax.export.SymbolicScope(constraints)
    inputs = specs if isinstance(specs, (tuple, list)) else [specs]
    return tuple(jax.tree.map(lambda leaf: _read(leaf, scope), tree) for tree in inputs)


def _read(spec: Any, scope: Any) -> Any:
    if isinstance(spec, str):
        return _parse(spec, scope)
    if hasattr(spec, "shape") and hasattr(spec, "dtype"):
        return jax.ShapeDtypeStruct(spec.shape, spec.dtype)
    raise ExportError(
        f"A spec is an array, a jax.ShapeDtypeStruct or a text such as 'float32[b, 28, 28, 1]', but"
        f" {kind_of(spec)} was given: {spec!r}. Pass options that are not arrays by keyword:"
        " ps.export(f, params, state, specs, is_training=False)."
    )


def _parse(text: str, scope: Any) -> Any:
    found = re.fullmatch(r"\s*(\w+)\s*\[(.*)\]\s*", text)
    try:
        dtype, dimensions = found.groups()  # pyright: ignore[reportOptionalMemberAccess]
        shape = jax.export.symbolic_shape(dimensions, scope=scope)
        return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    except (AttributeError, TypeError, ValueError) as error:
        raise ExportError(
            f"The spec {text!r} is not a dtype and dimensions. Write it like 'float32[b, 28, 28,"
            " 1]': a name stands for a dimension of any size, and 2*b for one that depends on it."
        ) from error
