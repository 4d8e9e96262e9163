"""Names of the leaves of trees, and how to find a leaf by its name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from purestate._core.errors import kind_of
from purestate._core.path import variable_path
from purestate._editing.errors import PathError

Path = str | Sequence[Any]
"""`"module/name"`, or the keys one by one."""


def path_string(path: Path) -> str:
    """Returns the name of a leaf: its keys with slashes between them.

    In a bundle this is "module/name"; in variables of `transform_with_collections`
    "collection/module/name"; in the state of an optimizer for instance "0/mu/module/name".
    """
    if isinstance(path, str):
        return path
    if not isinstance(path, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _no_path(path)
    return "/".join(key_string(key) for key in path)


def _no_path(path: Any) -> PathError:
    return PathError(
        "A path is 'module/name', or its keys one by one, such as ('module', 'name'), but this one"
        f" is {kind_of(path)}."
    )


def key_string(key: Any) -> str:
    """Returns the text of one key of a path, one of JAX's or a plain one."""
    try:
        return jax.tree_util.keystr((key,), simple=True)
    except (AttributeError, TypeError):
        return str(key)


def full_name(module: str, name: str) -> str:
    """Returns the name of a variable of a bundle."""
    return variable_path(module, name)


def named_leaves(tree: Any, *, holes: bool = False) -> list[tuple[str, Any]]:
    """Returns the leaves with their names; with `holes`, None is a leaf too."""
    is_leaf = is_hole if holes else None
    return [
        (path_string(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    ]


def is_hole(leaf: Any) -> bool:
    """Whether a leaf is a hole."""
    return leaf is None


def children(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Returns the children of a node with their names, and the inverse: a function of children."""
    if type(tree) is dict:  # JAX would sort it
        return [(key_string(key), value) for key, value in tree.items()], lambda new: dict(
            zip(tree, new, strict=True)
        )
    if jax.tree_util.all_leaves([tree]) or tree is None:
        return [], lambda new: tree
    found, treedef = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda node: node is not tree
    )
    return [(path_string(path), value) for path, value in found], treedef.unflatten


def with_child(tree: Any, number: int, new: Any) -> Any:
    """Returns a copy of a node with another child in one place."""
    below, make = children(tree)
    return make([new if i == number else value for i, (_, value) in enumerate(below)])


def rest_of(path: Path, key: str) -> Path | None:
    """Returns the rest of a path after its first key; None if its first key is another one."""
    if isinstance(path, str):
        if path == key:
            return ""
        return path[len(key) + 1 :] if path.startswith(key + "/") else None
    if not isinstance(path, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _no_path(path)
    return path[1:] if path and str(path[0]) == key else None


def find(tree: Any, path: Path) -> list[tuple[int, ...]]:
    """Returns all places that a path may stand for, each as the numbers of the children."""
    found: list[tuple[int, ...]] = []
    for number, (key, value) in enumerate(children(tree)[0]):
        rest = rest_of(path, key)
        if rest is not None:
            found += [(number,)] if not rest else [(number, *below) for below in find(value, rest)]
    return found


def find_one(tree: Any, path: Path) -> tuple[int, ...]:
    """Returns the place that a path stands for; raises unless it is exactly one."""
    found = find(tree, path)
    if not found:
        raise nothing_at(tree, path)
    if len(found) > 1:
        raise PathError(
            f"{path_string(path)!r} may stand for {len(found)} places of this tree. Pass its keys"
            " one by one, as in ('mlp/~/linear_0', 'w')."
        )
    return found[0]


def value_at(tree: Any, numbers: tuple[int, ...]) -> Any:
    """Returns the value at a place that `find` found."""
    for number in numbers:
        tree = children(tree)[0][number][1]
    return tree


def replaced(tree: Any, numbers: tuple[int, ...], new: Any) -> Any:
    """Returns a copy of a tree with another value in one place."""
    if not numbers:
        return new
    first, *rest = numbers
    return with_child(tree, first, replaced(children(tree)[0][first][1], tuple(rest), new))


def join(*parts: str) -> str:
    """Returns names with slashes between them; skips empty ones."""
    return "/".join(part for part in parts if part)


def is_bundle(tree: Mapping[str, Any]) -> bool:
    """Whether a dict is likely a bundle, and not a dict of bundles."""
    below = [node for part in tree.values() if isinstance(part, Mapping) for node in part.values()]
    return not below or not all(isinstance(node, Mapping) for node in below)


def near(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the names that are closest to a missing one."""
    import difflib  # here, since only errors need it

    names = list(names)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f" Near it: {', '.join(map(repr, close))}."
    shown = ", ".join(map(repr, names[:8])) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )
    return f" There is {shown}." if names else " The tree is empty."


def nothing_at(tree: Any, path: Path) -> PathError:
    """The error for a path that does not exist."""
    name = path_string(path)
    return PathError(
        "There is nothing at"
        f" {name!r}.{near(name, with_heads(n for n, _ in named_leaves(tree, holes=True)))}"
    )


def with_heads(names: Iterable[str]) -> list[str]:
    """Returns names, and the names of their modules."""
    names = list(names)
    return [*names, *dict.fromkeys(head for name in names if (head := name.rpartition("/")[0]))]
