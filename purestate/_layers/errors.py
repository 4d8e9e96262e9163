"""The errors of layers that are set up or called in a way that has no meaning."""

from collections.abc import Mapping
from typing import Any

import jax

from purestate._core.errors import ArgumentError, PurestateError, PurestateWarning, kind_of
from purestate._core.module import Module, ModuleMetaclass

MODULE_CLASS: Any = ModuleMetaclass
"""The class of classes of modules."""


class LayerError(PurestateError, ValueError):
    """A layer was given options or an input that do not fit."""


class TracedBoolError(LayerError, jax.errors.TracerBoolConversionError):
    """A layer was given a traced value for a Python bool, which decides which code runs."""

    def __init__(self, message: str):  # JAX's class takes a tracer
        Exception.__init__(self, message)


class LoraWarning(PurestateWarning):
    """`ps.lora` left out modules that it was to adapt: no operation takes their weights."""


def check_bool(layer: Any, argument: str, value: Any) -> None:
    """Raises if a Python bool is traced; `layer` is a module, or the name of a function.

    Callers first ask `value.__class__ is not bool`, which costs no call.
    """
    try:
        bool(value)
    except jax.errors.ConcretizationTypeError:
        name = layer if isinstance(layer, str) else f"{type(layer).__name__} {layer.module_name!r}"
        raise TracedBoolError(
            f"{name}: {argument} is traced, but it decides which code runs. Under jax.jit, name it"
            " in static_argnames, or bind it first with functools.partial."
        ) from None


def is_a_class(taker: str, what: str, given: Any) -> ArgumentError:
    """The error for a class of modules where a module is needed.

    Callers ask `given.__class__ is MODULE_CLASS`, which costs no call.
    """
    return ArgumentError(
        f"{taker} needs a module or a function as {what}, but was given {kind_of(given)}. Make an"
        f" instance of it: {given.__name__}(...)."
    )


def not_an_array(layer: Module | str, given: object, what: str = "its input") -> LayerError:
    """The error for a value that a layer needs as an array.

    Args:
      layer: a module, or the name of a function.
      given: the value.
    """
    name = layer if isinstance(layer, str) else f"{type(layer).__name__} {layer.module_name!r}"
    hint = ""
    if isinstance(given, (bool, int, float, complex, list, tuple)):
        hint = " Convert it with jnp.asarray."
    elif isinstance(given, Mapping):
        hint = " Take the array out of it."
    elif hasattr(given, "module_name"):
        hint = " Call this module, and pass on what it returns."
    return LayerError(f"{name} needs an array as {what}, but was given {kind_of(given)}.{hint}")
