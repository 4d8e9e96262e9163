"""`transplant`: copies variables of a checkpoint into another model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from purestate._core.errors import ShapeMismatchError
from purestate._core.path import is_inside
from purestate._editing.array_format import format_array
from purestate._editing.edits import Edited
from purestate._editing.errors import PathError
from purestate._editing.paths import is_hole, named_leaves, near, with_heads
from purestate._editing.predicates import glob


def transplant(
    source: Any,
    into: Any,
    mapping: Mapping[str, str] | Callable[[str], str | None] | None = None,
    predicate: Callable[[str, Any], Any] | str | None = None,
) -> Edited:
    """Copies the variables that a checkpoint and a model share into the model.

    >>> import jax.numpy as jnp, purestate as ps
    >>> old = {"encoder": {"w": jnp.ones([2])}, "old_head": {"w": jnp.ones([9])}}
    >>> new = {"model/encoder": {"w": jnp.zeros([2])}, "head": {"w": jnp.zeros([3])}}
    >>> params, changed = ps.surgery.transplant(old, new, {"encoder": "model/encoder"})
    >>> changed, params["model/encoder"]["w"].tolist()
    (['model/encoder/w'], [1.0, 1.0])

    Args:
      source: the checkpoint: a bundle, or any pytree. Variables that `into` lacks are skipped.
      into: the model, likewise. Variables that `source` lacks do not change.
      mapping: `{name in source: name in into}`, for modules with all modules inside them, and for
        variables. The longest name that fits counts; all other names stay. Or a function of a
        variable's name in `source` that returns its name in `into`, or None to skip it.
      predicate: `predicate(path, leaf)` or a glob: which variables of `into` to replace.

    Returns:
      The new tree, and the names of the copied variables in it.

    Raises:
      ShapeMismatchError: a variable has different shapes or dtypes in the two trees.
      PathError: a name of the mapping does not exist, two variables go to one place, or nothing
        was copied.
    """
    given = named_leaves(source)
    places = named_leaves(into, holes=True)
    there = dict(places)
    rename = (
        mapping
        if callable(mapping)
        else _renaming(mapping or {}, [name for name, _ in given], list(there))
    )
    holds: Any = glob(predicate) if isinstance(predicate, str) else predicate
    copied: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in given:
        target = rename(name)
        if (
            target is None
            or target not in there
            or (holds is not None and not holds(target, there[target]))
        ):
            continue
        if target in copied:
            raise PathError(
                f"transplant: two variables of the source go to {target!r}; the second is {name!r}."
            )
        before, after = _outline(there[target]), _outline(value)
        if there[target] is not None and before != after:
            wrong.append(f"{target!r} is {before}, and {name!r} of the source is {after}")
        copied[target] = value
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise ShapeMismatchError(
            f"transplant: {'; '.join(wrong[:4])}{more}. Skip them with a predicate, or convert"
            " the source to these shapes and dtypes first."
        )
    if not copied:
        raise PathError(
            f"transplant: nothing was copied. The source has {_some(name for name, _ in given)};"
            f" the model has {_some(there)}. `mapping` says which names belong together."
        )
    treedef = jax.tree.structure(into, is_leaf=is_hole)
    return Edited(
        treedef.unflatten([copied.get(name, leaf) for name, leaf in places]),
        [n for n in there if n in copied],
    )


def _renaming(
    mapping: Mapping[str, str], given: list[str], there: list[str]
) -> Callable[[str], str]:
    """Returns a function from names of the source to names of the model."""
    for old, new in mapping.items():
        for name, names, which in ((old, given, "source"), (new, there, "model")):
            if not any(is_inside(path, name) for path in names):
                raise PathError(
                    f"transplant: the {which} has nothing at"
                    f" {name!r}.{near(name, with_heads(names))}"
                )

    def rename(name: str) -> str:
        fitting = [old for old in mapping if is_inside(name, old)]
        if not fitting:
            return name
        longest = max(fitting, key=len)
        return mapping[longest] + name[len(longest) :]

    return rename


def _outline(leaf: Any) -> str:
    return (
        format_array(leaf)
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        else type(leaf).__name__
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (", ".join(map(repr, names[:4])) or "nothing") + more
