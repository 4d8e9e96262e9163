"""The skeleton of a module: what can be called in it, known without making the module again."""

import inspect
from types import FunctionType
from typing import Any, NamedTuple

from purestate._core.module import Module
from purestate._state.set_up_module import Container
from purestate._views.calls import Path, Step, holds_modules, is_hashable, items_of


class Skeleton(NamedTuple):
    """A module, a container of modules, or a function.

    Attributes:
      cls: its class, whose methods can be called; None if only a run can tell its attributes.
      parts: the attributes and items by their step; None for a value that cannot be called.
      module_name: the path of a module in the parameters; None for anything else.
    """

    cls: type | None
    parts: dict[Step, "Skeleton | None"]
    module_name: str | None = None


def skeleton_of(value: object) -> Skeleton | None:
    """Returns the skeleton of a value; None if it cannot be called, nor holds what can be."""
    return _skeleton_of(value, ())


def _skeleton_of(value: object, around: tuple[int, ...]) -> Skeleton | None:
    if id(value) in around:  # a module that a submodule refers to
        return Skeleton(None, {})
    around = (*around, id(value))
    if isinstance(value, Module):
        cls = type(value)
        if cls.__getattribute__ is not object.__getattribute__:
            return Skeleton(None, {})
        parts: dict[Step, Any] = {
            name: _skeleton_of(inner, around)
            for name, inner in vars(value).items()
            if not inspect.isdatadescriptor(inspect.getattr_static(cls, name, None))
        }
        return Skeleton(cls, parts, value.module_name)
    if isinstance(value, Container) or holds_modules(value):
        items = value.items() if isinstance(value, Container) else items_of(value)
        return Skeleton(type(value), {(key,): _skeleton_of(item, around) for key, item in items})
    return Skeleton(None, {}) if callable(value) else None


def is_callable_part(skeleton: Skeleton, path: Path) -> bool:
    """Whether a path leads to something to call. If not, only a run can tell."""
    found: Skeleton | None = skeleton
    for number, step in enumerate(path):
        if found is None:
            return False
        if not is_hashable(step):  # a slice
            return False
        if step in found.parts:
            found = found.parts[step]
            continue
        is_last = number == len(path) - 1
        return is_last and isinstance(step, str) and _is_method(found.cls, step)
    return found is not None


def class_at(skeleton: Skeleton, path: Path) -> type | None:
    """Returns the class of the module, or the container, at a path; None if it is not known."""
    found: Skeleton | None = skeleton
    for step in path:
        found = found.parts.get(step) if found is not None and is_hashable(step) else None
    return None if found is None else found.cls


def modules_at(skeleton: Skeleton, path: Path) -> set[str]:
    """Returns the paths of the modules that hold the parameters of a part.

    These are the module and all that it holds; for a list, those in the list. A method has those of
    its module. So has a function in an attribute, as it may use any of them.
    """
    found = skeleton
    for step in path:
        part = found.parts.get(step) if is_hashable(step) else None
        if part is None or part.cls is None:
            break
        found = part
    return _modules_in(found)


def _modules_in(skeleton: Skeleton) -> set[str]:
    own = set() if skeleton.module_name is None else {skeleton.module_name}
    return own.union(*(_modules_in(part) for part in skeleton.parts.values() if part is not None))


def _is_method(cls: type | None, name: str) -> bool:
    if cls is None:
        return False
    kinds = (FunctionType, staticmethod, classmethod)
    return isinstance(inspect.getattr_static(cls, name, None), kinds)
