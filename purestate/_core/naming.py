"""How a new module gets its path: dm-haiku's rules, without a regex per instance."""

from purestate._core.errors import ModuleError, ModuleNameError
from purestate._core.frame import Frame
from purestate._core.path import (
    FORCED,
    PARSED_NAME,
    check_forced,
    child_prefix,
    local_name,
    split_number,
)
from purestate._core.scope import Names, Scope


def path_here(frame: Frame, scope: Scope) -> str:
    """Returns the path of the module of `scope`; raises if it cannot be used here."""
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

    A name without a number gets the next free one, from the second on. A name that ends in a number
    keeps it, and must be free.
    """
    names = scope.names
    if names is None:
        is_root = scope.module is None
        prefix = "" if is_root else child_prefix(path_here(frame, scope), scope.method_name)
        names = scope.names = Names(prefix)
    if ":" in name:
        path, name, base, number = forced_name(name)
    else:
        bare, number = PARSED_NAME[name]
        base = names.prefix + bare
        if number is None:
            number = names.counts[base] if base in names.counts else 0
            if names.plain is not None and number:
                number = _number_in_given(names, names.plain, base, number, frame)
            path = f"{base}_{number}" if number else base
            name = f"{bare}_{number}" if number else bare
        else:
            path = names.prefix + name
        if path in names.used and not _is_given_again(names, path, frame):
            raise ModuleNameError(
                f"Two modules want to be {path!r} in one method. A name that ends in a number is"
                f" taken as it is; leave the number out (name={bare!r}) to have modules numbered,"
                " or give another name."
            )
    names.used[path] = None
    if base not in names.counts or names.counts[base] <= number:
        names.counts[base] = number + 1
    if names.plain is not None:
        names.plain.take(path, base, number)
    return path, name


def _number_in_given(names: Names, plain: Names, base: str, number: int, frame: Frame) -> int:
    """Returns the number that `apply` means: the next free one, or the one of a shared module.

    Modules made in `ps.scan`, `ps.vmap` and the like keep their names taken, so that a module made
    afterwards is another one. dm-haiku forgets these names, and so shares the module. A program
    that made the module once in `init`, or comes with params of dm-haiku, means the shared one: its
    params lack the numbered module and have the other. Without this it could only be an error.
    """
    shared = plain.counts.get(base, 0)
    if frame.given is None or shared == number or base in names.apart:
        return number
    if f"{base}_{number}" in frame.given:
        names.apart.add(base)  # params in which modules of this name are shared lack it
        return number
    return shared if (f"{base}_{shared}" if shared else base) in frame.given else number


def _is_given_again(names: Names, path: str, frame: Frame) -> bool:
    """Whether a taken path is that of a module of `apply`'s params made in a lifted body only."""
    plain = names.plain
    return (
        plain is not None
        and path not in plain.used
        and frame.given is not None
        and path in frame.given
    )


def forced_name(name: str) -> tuple[str, str, str, int]:
    """Takes `force_name("a/b_2")` apart: path, last part, path without number, number."""
    if not name.startswith(FORCED):
        PARSED_NAME[name]  # raises the error for it
    path = name.removeprefix(FORCED)
    check_forced(path)
    base, number = split_number(path)
    return path, local_name(path), base, number or 0
