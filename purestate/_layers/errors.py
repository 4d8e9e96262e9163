"""The errors of layers that are set up or called in a way that has no meaning."""

from collections.abc import Mapping

from purestate._core.errors import PurestateError, kind_of
from purestate._core.module import Module


class LayerError(PurestateError, ValueError):
    """A layer was given options or an input that do not fit."""


def not_an_array(layer: Module | str, given: object, what: str = "its input") -> LayerError:
    """The error for something else where a layer needs an array; `layer` is a module, or what a function is called."""
    name = layer if isinstance(layer, str) else f"{type(layer).__name__} {layer.module_name!r}"
    hint = ""
    if isinstance(given, (bool, int, float, complex, list, tuple)):
        hint = " Convert it with jnp.asarray."
    elif isinstance(given, Mapping):
        hint = " Take the array out of it."
    elif hasattr(given, "module_name"):
        hint = " Call this module, and pass on what it returns."
    return LayerError(f"{name} needs an array as {what}, but was given {kind_of(given)}.{hint}")
