"""Checks on inputs and options that several layers share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.module import Module
from purestate._layers.axes import channel_index_of
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.variable import value_of


def as_array(x: Any) -> jax.Array:
    """Returns an array of JAX: of a variable its value."""
    value = value_of(x)
    return value if isinstance(value, jax.Array) else jnp.asarray(value)


def check_rank(module: Module, inputs: jax.Array, rank: int) -> None:
    """Raises unless the input has `rank` axes."""
    if inputs.ndim != rank:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} needs an input with {rank} axes, but"
            f" got the shape {list(inputs.shape)}."
        )


def check_minimum_rank(module: Module, inputs: jax.Array, rank: int) -> None:
    """Raises unless the input has at least `rank` axes."""
    if inputs.ndim < rank:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} needs an input with at least {rank}"
            f" axes, but got the shape {list(inputs.shape)}. For a single example add an axis:"
            " x[None]."
        )


def check_input(
    module: Module, inputs: jax.Array, weights: jax.Array, size: int, axis: int
) -> None:
    """Raises unless the input has the size and dtype that the module was first called with."""
    if inputs.shape[axis] != size:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} was first called with {size} features,"
            f" and now with {inputs.shape[axis]} (shape {list(inputs.shape)}). Use a module for"
            " each size."
        )
    if inputs.dtype != weights.dtype:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} has weights of {weights.dtype}, but"
            f" its input is {inputs.dtype}. Cast the input: x.astype(jnp.{weights.dtype})."
        )


def check_bias_init(module: Module, with_bias: bool, b_init: object) -> None:
    """Raises if a bias is initialized that does not exist."""
    if not with_bias and b_init is not None:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r}: with_bias=False, but b_init is given."
            " Leave b_init out, or set with_bias=True."
        )


def check_scale_and_offset_init(
    module: Module, create_scale: bool, create_offset: bool, scale_init: Any, offset_init: Any
) -> None:
    """Raises if a scale or offset is initialized that the module does not create."""
    for name, creates, init in (
        ("scale", create_scale, scale_init),
        ("offset", create_offset, offset_init),
    ):
        if not creates and init is not None:
            raise SonnetValueError(
                f"{type(module).__name__} {module.module_name!r}: create_{name}=False, but"
                f" {name}_init is given. Leave {name}_init out, or set create_{name}=True."
            )


def check_scale_and_offset(
    module: Module, create_scale: bool, create_offset: bool, scale: Any, offset: Any
) -> None:
    """Raises if a scale or offset is passed to a module that has its own."""
    for name, creates, given in (
        ("scale", create_scale, scale),
        ("offset", create_offset, offset),
    ):
        if creates and given is not None:
            raise SonnetValueError(
                f"{type(module).__name__} {module.module_name!r} has a {name} of its own, and was"
                f" called with another. Leave it out of the call, or set create_{name}=False."
            )


def replicate(value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    """Returns one value for each axis; raises SonnetTypeError for another number of values."""
    if not isinstance(value, Sequence):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    if len(value) != count:
        raise SonnetTypeError(
            f"{name} must be a number, or a sequence of length 1 or {count}; got {value!r}."
        )
    return tuple(value)


def channel_index(data_format: str | None) -> int:
    """Returns the axis of the channels, 1 or -1."""
    return channel_index_of(data_format or "")
