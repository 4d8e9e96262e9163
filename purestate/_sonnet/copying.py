"""`copy.deepcopy` and pickle of modules and variables: a copy has variables of its own.

Python's own machinery copies; it asks each object for `__reduce_ex__`. Modules that are copied
together keep the form of their paths: only the first part, the root, is new.
"""

import weakref
from typing import Any

from purestate._core.frame import Frame
from purestate._core.naming import name_module
from purestate._core.path import ROOT, outer_path
from purestate._core.scope import Names, Scope
from purestate._core.trace_guard import is_traced
from purestate._sonnet.outside import OUTSIDE, forget_with, in_a_frame

# What a module has because of its place; the rest of its attributes is copied.
_OF_THE_PLACE = frozenset(
    {"_path", "module_name", "creation_frame_id", "_submodules", "_arguments", "_root"}
)


class Root:
    """The first part of the paths of modules that are copied together.

    Copies refer to theirs, and their variables end with it.

    Attributes:
      name: the name that it was made with.
      path: the name that it got, perhaps with a number.
    """

    def __init__(self, name: str, path: str):
        self.name = name
        self.path = path

    def __reduce__(self) -> Any:
        return _new_root, (self.name,)

    def moved(self, path: str) -> str:
        """Returns a path of the original as that of the copy."""
        return "/".join([self.path, *path.split("/")[1:]])


class Shared:
    """A value that a deep copy has too, such as an array, which nobody changes in place."""

    def __init__(self, value: Any):
        self.value = value

    def __deepcopy__(self, memo: Any) -> "Shared":
        return self


# One for all that is copied together, so that there is one in the copy too.
_roots: weakref.WeakValueDictionary[tuple[int, str], Root] = weakref.WeakValueDictionary()


def root_of(frame: Frame, path: str) -> Root:
    """Returns the root of a path."""
    first = path.split("/")[0]
    root = _roots.get((frame.frame_id, first))
    if root is None:
        root = _roots[frame.frame_id, first] = Root(plain_name(frame, first), first)
    return root


def _new_root(name: str) -> Root:
    """Makes the root of a copy, under a name that is free in the running frame."""
    with in_a_frame() as frame:
        scope = frame.scope
        while scope.outer is not None:
            scope = scope.outer
        path = ROOT if name == ROOT else name_module(free_name(name, scope), scope, frame)[0]
        note_plain_name(frame, path, name)
        return root_of(frame, path)


def free_name(name: str, scope: Scope | None) -> str:
    """Returns a name under which a module of this name can be made: `head_1_1` after `head_1`."""
    names = None if scope is None else scope.names
    if names is None or not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return name
    free, number = name, 0
    while names.prefix + free in names.used and free[-1:].isdigit():
        number += 1
        free = f"{name}_{number}"
    return free


def note_plain_name(frame: Frame, path: str, name: str) -> None:
    """Notes the path of a module outside without the numbers that equal names got.

    Numbers depend on what else the process has made. Names of variables are without, as in Sonnet.
    """
    plain = "/".join(filter(None, [plain_name(frame, outer_path(path)), name]))
    if frame is OUTSIDE.frame and plain != path:
        OUTSIDE.plain_names[path] = plain


def plain_name(frame: Frame, path: str) -> str:
    """Returns the path of a module; of one outside it is without the numbers of equal names."""
    return OUTSIDE.plain_names.get(path, path) if frame is OUTSIDE.frame else path


def module_state(module: Any, frame: Frame) -> tuple[Any, ...]:
    """Returns what a copy of a module is made of."""
    path: str = module.module_name
    built = frame.ledger.built
    facts = {key: fact for key, fact in built.items() if key[1] == path}
    attributes = {k: v for k, v in vars(module).items() if k not in _OF_THE_PLACE}
    return root_of(frame, path), path, plain_name(frame, path), facts, attributes


def set_module_state(module: Any, frame: Frame, state: tuple[Any, ...]) -> None:
    """Makes a new object a copy of a module, in the running frame."""
    root, path, plain, facts, attributes = state
    path = root.moved(path)
    if frame is OUTSIDE.frame and plain != path:
        OUTSIDE.plain_names[path] = plain
    object.__setattr__(module, "_root", root)
    vars(module).update(attributes, _path=path, module_name=path, _submodules=set())
    for (kind, _, *rest), fact in facts.items():
        if kind == "names":
            fact = _moved_names(root, fact)
        elif kind == "below":
            fact = tuple(root.moved(below) for below in fact)
        elif kind == "variables":
            fact = {**frame.ledger.built.get((kind, path), {}), **fact}
        frame.ledger.built[kind, path, *rest] = fact
    if frame is OUTSIDE.frame:
        forget_with(root, path)


def _moved_names(root: Root, names: Names) -> Names:
    used = {root.moved(path): None for path in names.used}
    counts = {root.moved(path): number for path, number in names.counts.items()}
    return Names(root.moved(names.prefix), used, counts)


def variable_state(variable: Any, frame: Frame) -> tuple[Any, ...]:
    """Returns what a copy of a variable is made of."""
    value = variable.value()
    # A tracer may be of a trace that is undone: then the value is read again.
    source = Shared(variable) if is_traced(value) else None
    root = root_of(frame, variable.path[0])
    return root, variable.path, variable.name, variable.trainable, Shared(value), source
