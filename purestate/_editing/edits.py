"""Edits of trees that report the paths they changed: rename, insert, delete."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from purestate._core.errors import kind_of
from purestate._core.path import is_inside
from purestate._editing.errors import PathError
from purestate._editing.paths import (
    Path,
    children,
    find,
    full_name,
    is_bundle,
    join,
    named_leaves,
    nothing_at,
    path_string,
    rest_of,
    with_child,
)


class Edited(NamedTuple):
    """The result of an edit: a new tree, and the paths that changed.

    Attributes:
      tree: the new tree; the old one does not change.
      changed: the names of new and of moved leaves, in the new tree; for `delete`, the names of
        deleted leaves.
    """

    tree: Any
    changed: list[str]


def _names_below(here: str, value: Any) -> list[str]:
    return [join(here, name) for name, _ in named_leaves(value, holes=True)]


def _module_of_variable(tree: Mapping[str, Any], path: str) -> tuple[str, str] | None:
    """Returns module and name of a variable of a bundle; None if `path` is not one."""
    for module, values in tree.items():
        name = rest_of(path, str(module))
        if name and isinstance(values, Mapping) and name in values:
            return module, str(name)
    return None


def _without(tree: Mapping[str, Any], module: str, name: str) -> dict[str, Any]:
    """Returns a bundle without one variable. A module whose last variable it is goes with it."""
    left = {key: value for key, value in tree[module].items() if key != name}
    return {
        key: left if key == module else value
        for key, value in tree.items()
        if key != module or left
    }


def rename(tree: Any, old: str, new: str) -> Edited:
    """Renames modules, or a variable, in every bundle of a tree.

    >>> import purestate as ps
    >>> params = {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}}
    >>> ps.surgery.rename(params, "mlp", "head").tree
    {'head': {'scale': 0}, 'head/~/linear_0': {'w': 1, 'b': 2}}
    >>> tree, changed = ps.surgery.rename(params, "mlp/~/linear_0/w", "mlp/~/linear_0/kernel")
    >>> changed
    ['mlp/~/linear_0/kernel']

    Args:
      tree: a bundle, or any pytree with bundles in it: variables, an optimizer's state.
      old: a module, with all modules inside it; or a variable, "module/name". It is renamed in
        every bundle that has it. With a collection in front of both names, "params/mlp", it is
        renamed in that collection only.
      new: the new name.

    Returns:
      The new tree, and the new names of all variables that have one.

    Raises:
      PathError: nothing has the old name, or something has the new one.
    """
    changed: list[str] = []
    _check_path(old)
    _check_path(new)
    result = _renamed(tree, old, new, "", changed)
    if result is None:
        raise nothing_at(tree, old)
    return Edited(result, changed)


def _renamed(tree: Any, old: str, new: str, here: str, changed: list[str]) -> Any:
    """Returns the new tree; None if nothing has the old name."""
    if isinstance(tree, Mapping):
        if any(isinstance(key, str) and is_inside(key, old) for key in tree):
            return _with_renamed_modules(tree, old, new, here, changed)
        if variable := _module_of_variable(tree, old):
            return _with_renamed_variable(tree, *variable, new, here, changed)
    everywhere = not (isinstance(tree, Mapping) and is_bundle(tree))
    result = None
    for number, (key, value) in enumerate(children(tree)[0]):
        inner = rest_of(old, key), rest_of(new, key)
        if inner[0] and inner[1]:
            below = _renamed(value, str(inner[0]), str(inner[1]), join(here, key), changed)
        else:
            below = _renamed(value, old, new, join(here, key), changed) if everywhere else None
        if below is not None:
            result = with_child(tree if result is None else result, number, below)
    return result


def _with_renamed_modules(
    tree: Mapping[str, Any], old: str, new: str, here: str, changed: list[str]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in tree.items():
        moves = is_inside(key, old)
        name = new + key[len(old) :] if moves else key
        if name not in result:
            result[name] = value
        else:
            both = [result[name], value]
            taken = not all(isinstance(part, Mapping) for part in both) or bool(
                set(both[0]) & set(both[1])
            )
            if taken:
                raise PathError(
                    f"rename: {old!r} cannot become {new!r}, since {join(here, name)!r} exists"
                    " already. Rename or delete that first."
                )
            result[name] = {**both[0], **both[1]}
        if moves:
            changed += _names_below(join(here, name), value)
    return result


def _with_renamed_variable(
    tree: Mapping[str, Any], module: str, name: str, new: str, here: str, changed: list[str]
) -> dict[str, Any]:
    inside = rest_of(new, module)
    to, _, to_name = (module, "", str(inside)) if inside else new.rpartition("/")
    if not to or not to_name:
        raise PathError(
            f"rename: {full_name(module, name)!r} is a variable, so its new name must be that of"
            f" a variable too, 'module/name', but is {new!r}."
        )
    if to_name in tree.get(to, {}):
        raise PathError(
            f"rename: {full_name(module, name)!r} cannot become {new!r}, since that exists"
            " already. Rename or delete that first."
        )
    value = tree[module][name]
    changed += _names_below(join(here, to, to_name), value)
    if to == module:
        return {
            **tree,
            module: {(to_name if key == name else key): v for key, v in tree[module].items()},
        }
    return {**_without(tree, module, name), to: {**tree.get(to, {}), to_name: value}}


def insert(tree: Any, path: Path, value: Any) -> Edited:
    """Inserts a new variable, or a module with its variables, into a tree.

    >>> import purestate as ps
    >>> ps.surgery.insert({"linear": {"w": 1}}, "linear/b", 2)
    Edited(tree={'linear': {'w': 1, 'b': 2}}, changed=['linear/b'])
    >>> ps.surgery.insert({"linear": {"w": 1}}, "norm", {"scale": 3}).changed
    ['norm/scale']

    Args:
      tree: a bundle, variables, or any pytree with a dict at the place.
      path: "module/name" in a bundle, "collection/module/name" in variables. If `value` is a dict,
        it is the path of a module. A sequence of keys, `("params", "linear", "b")`, is used as it
        is.
      value: an array; or a dict, the variables of a module.

    Returns:
      The new tree, and the names of the new leaves.

    Raises:
      PathError: the path exists already, or the tree has no place for it.
    """
    if find(tree, path):
        raise PathError(
            f"insert: {path_string(path)!r} exists already. To replace its value, use"
            " ps.surgery.at(tree, path).set(value)."
        )
    result, keys = _inserted(tree, path, value)
    return Edited(result, _names_below(path_string(keys), value))


def _inserted(tree: Any, path: Path, value: Any) -> tuple[Any, list[Any]]:
    """Returns the new tree, and the keys of the new part."""
    if isinstance(tree, Mapping) and isinstance(path, str) and is_bundle(tree):
        module, name = _place_in_bundle(tree, path, value)
        if name is None:
            return {**tree, module: value}, [module]
        return {**tree, module: {**tree.get(module, {}), name: value}}, [module, name]
    for number, (key, node) in enumerate(children(tree)[0]):
        rest = rest_of(path, key)
        if rest:
            new, keys = _inserted(node, rest, value)
            return with_child(tree, number, new), [key, *keys]
    if isinstance(tree, Mapping) and not isinstance(path, str) and _are_keys(path):
        first, *others = path
        for key in reversed(others):
            value = {key: value}
        return {**tree, first: value}, list(path)
    raise nothing_at(tree, path)


def _are_keys(path: Path) -> bool:
    try:
        return bool({*path})
    except TypeError:  # a key that no dict takes
        return False


def _place_in_bundle(tree: Mapping[str, Any], path: str, value: Any) -> tuple[str, str | None]:
    if isinstance(value, Mapping):
        return path, None
    module, _, name = path.rpartition("/")
    if not module:
        raise PathError(
            f"insert: the value for {path!r} is one variable, so its path must be 'module/name'"
            " ('~/name' outside any module). For a module, pass a dict of its variables."
        )
    if "/" in module and any(rest_of(path, key) and node == {} for key, node in tree.items()):
        raise PathError(
            f"insert: {path!r} starts with the name of an empty dict, which may be a collection or"
            " a module. Pass the keys one by one, as in ('params', 'linear', 'w')."
        )
    return module, name


def delete(tree: Any, path: str) -> Edited:
    """Deletes modules, or a variable, from every bundle of a tree.

    >>> import purestate as ps
    >>> params = {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}, "head": {"w": 3}}
    >>> ps.surgery.delete(params, "mlp/~/linear_0/b").tree
    {'mlp': {'scale': 0}, 'mlp/~/linear_0': {'w': 1}, 'head': {'w': 3}}
    >>> ps.surgery.delete(params, "mlp")
    Edited(tree={'head': {'w': 3}}, changed=['mlp/scale', 'mlp/~/linear_0/b', 'mlp/~/linear_0/w'])

    Args:
      tree: a bundle, or any pytree with bundles in it: variables, an optimizer's state.
      path: a module, with all modules inside it; or a variable, "module/name"; see `rename`.

    Returns:
      The new tree, and the names of the deleted leaves. A module without variables is deleted too.

    Raises:
      PathError: nothing has that name.
    """
    _check_path(path)
    gone: list[str] = []
    result = _deleted(tree, path, "", gone)
    if result is None:
        raise nothing_at(tree, path)
    return Edited(result, gone)


def _check_path(path: Any) -> None:
    if not isinstance(path, str):
        raise PathError(f"A path is 'module' or 'module/name', but this one is {kind_of(path)}.")


def _deleted(tree: Any, path: str, here: str, gone: list[str]) -> Any:
    """Returns the new tree; None if nothing has the name."""
    if isinstance(tree, Mapping):
        modules = [key for key in tree if isinstance(key, str) and is_inside(key, path)]
        if modules:
            gone += [name for key in modules for name in _names_below(join(here, key), tree[key])]
            return {key: value for key, value in tree.items() if key not in modules}
        if variable := _module_of_variable(tree, path):
            module, name = variable
            gone += _names_below(join(here, module, name), tree[module][name])
            return _without(tree, module, name)
    everywhere = not (isinstance(tree, Mapping) and is_bundle(tree))
    result = None
    for number, (key, value) in enumerate(children(tree)[0]):
        inner = rest_of(path, key) or (path if everywhere else None)
        below = _deleted(value, str(inner), join(here, key), gone) if inner else None
        if below is not None:
            result = with_child(tree if result is None else result, number, below)
    return result
