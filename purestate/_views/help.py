"""What `help` and `inspect.signature` tell of a model, or of a method or submodule of one."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from purestate._core.pairs import original_function
from purestate._views.bound_function import BoundFunction
from purestate._views.calls import Path
from purestate._views.skeleton import class_at


class InstanceDoc:
    """A `__doc__` that is one text for the class, and another one for each instance."""

    def __init__(self, of_class: str, of_instance: Callable[[Any], str]):
        self._of_class = of_class
        self._of_instance = of_instance

    def __get__(self, instance: object, owner: type) -> str:
        return self._of_class if instance is None else self._of_instance(instance)


# A type checker takes `__doc__` for a str.
instance_doc: Callable[[str, Callable[[Any], str]], Any] = InstanceDoc


class Target(NamedTuple):
    """What a call runs.

    Attributes:
      documented: the function or class with its docstring.
      called: the function with its signature.
      is_method: whether that begins with `self`.
    """

    documented: Any
    called: Any
    is_method: bool


def target_of(bound: BoundFunction, path: Path) -> Target | None:
    """Returns what a call at a path runs; None if only a run can tell."""
    if not bound.makes_module:
        function = original_function(bound.source)
        return Target(function, function, is_method=False)
    if bound.looked is None:
        return None
    cls = class_at(bound.looked.skeleton, path)
    if cls is not None:
        return Target(cls, inspect.getattr_static(cls, "__call__", None), is_method=True)
    cls = class_at(bound.looked.skeleton, path[:-1]) if path else None
    found = None if cls is None else inspect.getattr_static(cls, str(path[-1]), None)
    return Target(found, found, is_method=True) if inspect.isfunction(found) else None


def signature_of(target: Target) -> inspect.Signature:
    """Returns the signature that a caller sees."""
    signature = inspect.signature(target.called)
    first = 1 if target.is_method else 0
    return signature.replace(parameters=list(signature.parameters.values())[first:])


def help_text(target: Target | None, name: str, about: str) -> str:
    """Returns the signature and the docstring of what a call runs, and a text about the object."""
    if target is None:
        return about
    with contextlib.suppress(TypeError, ValueError):  # not every callable has a signature
        name += str(signature_of(target))
    return "\n\n".join(filter(None, [name, inspect.getdoc(target.documented), about]))
