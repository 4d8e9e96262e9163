"""Checks on inputs and options that several layers share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._core.module import Module
from purestate._core.parameters_read import note_same_parameter
from purestate._layers.axes import get_channel_index
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.variable import value_of


def as_array(x: Any) -> jax.Array:
    """Returns an array of JAX: of a variable its value."""
    value = value_of(x)
    if isinstance(value, jax.Array):
        return value
    array = jnp.asarray(value)
    note_same_parameter(array, value)
    return array


def check_rank(module: Module, inputs: jax.Array, rank: int, hint: str = "") -> None:
    """Raises unless the input has `rank` axes; `hint` says what to write instead."""
    if inputs.ndim != rank:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} needs an input with {rank} axes, but"
            f" got the shape {list(inputs.shape)}.{hint or _as_batch(inputs.ndim, rank)}"
        )


def check_minimum_rank(module: Module, inputs: jax.Array, rank: int) -> None:
    """Raises unless the input has at least `rank` axes."""
    if inputs.ndim < rank:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} needs an input with at least {rank}"
            f" axes, but got the shape {list(inputs.shape)}.{_as_batch(inputs.ndim, rank)}"
        )


def _as_batch(ndim: int, rank: int) -> str:
    """Says how to bring an input to `rank` axes."""
    if ndim == rank - 1:
        return " For a single example add an axis: x[None]."
    if ndim > rank:
        return f" To merge its first axes: snt.BatchApply(module, {ndim - rank + 1})(x)."
    return ""


def check_features(module: Module, inputs: jax.Array, size: int, axis: int = -1) -> None:
    """Raises unless an axis of the input has the size that the weights were made for."""
    if inputs.shape[axis] != size:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} was first called with {size} features,"
            f" and now with {inputs.shape[axis]} (shape {list(inputs.shape)}). Use a module for"
            " each size."
        )


def check_input(
    module: Module, inputs: jax.Array, weights: jax.Array, size: int, axis: int
) -> None:
    """Raises unless the input has the size and dtype that the module was first called with."""
    check_features(module, inputs, size, axis)
    if inputs.dtype != weights.dtype:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} has weights of {weights.dtype}, but"
            f" its input is {inputs.dtype}. Cast the input: x.astype(jnp.{weights.dtype})."
        )


def check_floats(module: Module, inputs: jax.Array) -> None:
    """Raises unless the input is of floats."""
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} needs floats, but got {inputs.dtype}."
            " Cast the input: x.astype(jnp.float32)."
        )


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of a shape can be broadcast to another one."""
    try:
        return jnp.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


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


def replicate(module: Module, value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    """Returns one value for each spatial axis; raises SonnetTypeError for another number."""
    if not isinstance(value, Sequence):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    if len(value) != count:
        raise SonnetTypeError(wrong_count(module, value, count, name))
    return tuple(value)


def wrong_count(module: Module, value: Sequence[int], count: int, name: str) -> str:
    """The message for a sequence that has neither one value nor one for each spatial axis."""
    return (
        f"{type(module).__name__} {module.module_name!r}: {name} must be one number, or a sequence"
        f" of {count}, one for each spatial axis; got {value!r}."
    )


def wrong_padding(module: Module, padding: object, others: str = "") -> str:
    """The message for a padding that a convolution does not take."""
    given = repr(padding) if isinstance(padding, str) else kind_of(padding)
    return (
        f"{type(module).__name__} {module.module_name!r}: padding must be 'SAME' or"
        f" 'VALID'{others}; got {given}."
    )


def channel_index(data_format: str | None) -> int:
    """Returns the axis of the channels, 1 or -1."""
    return get_channel_index(data_format or "")
