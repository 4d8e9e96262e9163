"""How a new module gets its path: dm-haiku's rules, without a regex per instance."""

from purestate._core.errors import ModuleError, ModuleNameError
from purestate._core.frame import Frame, Names, Scope
from purestate._core.path import (
    FORCED,
    PARSED_NAME,
    check_forced,
    child_prefix,
    local_name,
    split_number,
)


def path_here(frame: Frame, scope: Scope) -> str:
    """Returns the path of the module of `scope`, or says why it cannot be used."""
    path = scope.path
    if path is None:
        raise ModuleError(
            f"{type(scope.module).__name__} uses a parameter, a state or a submodule before it has"
            " a name. Call `super().__init__(name=name)` first thing in its `__init__`."
        )
    if scope.module is not None and scope.module.creation_frame_id < frame.boundary:
        raise ModuleError(
            f"The module {path!r} was made outside a function that is lifted (`transparent_lift`,"
            " `layer_stack`) and is used inside it. Its parameters would be mixed up. Make the"
            " module inside that function."
        )
    return path


def name_module(name: str, scope: Scope, frame: Frame) -> tuple[str, str]:
    """Gives a module created in `scope` its path; returns it and its last part.

    A name without a number gets the next free one, from the second on; a name that ends in a
    number keeps it, and must be free.
    """
    names = scope.names
    if names is None:
        prefix = (
            "" if scope.module is None else child_prefix(path_here(frame, scope), scope.method_name)
        )
        names = scope.names = Names(prefix)
    if ":" in name:
        path, name, base, number = forced_name(name)
    else:
        bare, number = PARSED_NAME[name]
        base = names.prefix + bare
        if number is None:
            number = names.counts[base] if base in names.counts else 0
            path = f"{base}_{number}" if number else base
            name = f"{bare}_{number}" if number else bare
        else:
            path = names.prefix + name
        if path in names.used:
            raise ModuleNameError(
                f"Two modules want to be {path!r} in one method. A name that ends in a number is"
                f" taken as it is; leave the number out (name={bare!r}) to have modules numbered,"
                " or give another name."
            )
    names.used[path] = None
    if base not in names.counts or names.counts[base] <= number:
        names.counts[base] = number + 1
    return path, name


def forced_name(name: str) -> tuple[str, str, str, int]:
    """Takes `force_name("a/b_2")` apart: path, last part, path without number, number."""
    if not name.startswith(FORCED):
        PARSED_NAME[name]  # says what is wrong with it
    path = name.removeprefix(FORCED)
    check_forced(path)
    base, number = split_number(path)
    return path, local_name(path), base, number or 0
