"""The variables and modules that a module holds, in the order of `tf.Module`."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from purestate._core.frame import Frame
from purestate._core.module import Module as CoreModule
from purestate._core.path import is_inside
from purestate._sonnet.outside import in_a_frame
from purestate._sonnet.variable import Variable, is_variable

# What purestate itself keeps on a module. The arguments may hold modules that belong elsewhere.
_OWN = frozenset(
    {"_arguments", "_submodules", "_path", "_local_name", "creation_frame_id", "module_name"}
)
AttributePath = tuple[str, ...]


def variables_of(module: CoreModule) -> tuple[Variable, ...]:
    """Returns the variables of a module and of the modules it holds, each once."""
    return tuple(variable for _, variable in _variables(module))


def submodules_of(module: CoreModule) -> tuple[Any, ...]:
    """Returns the modules that a module holds, and those that they hold, each once."""
    return tuple(leaf for _, leaf in _held(module, lambda leaf: isinstance(leaf, CoreModule)))


def attribute_paths(module: CoreModule) -> dict[str, tuple[str, str]]:
    """Returns the place of each variable by the attributes that lead to it.

    This is how `tf.train.Checkpoint` names variables; see `snt.checkpoint.restore`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> net = snt.Sequential([snt.Linear(2)])
    >>> _ = net(jnp.ones([1, 3]))
    >>> sorted(snt.attribute_paths(net))
    ['_layers/0/b', '_layers/0/w']

    Args:
      module: a module that was called.

    Returns:
      `{attribute path: (module path, name)}`. A slash or a backslash in a key of a dict has a
      backslash before it.
    """
    return {"/".join(map(_escaped, path)): variable.path for path, variable in _variables(module)}


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("/", "\\/")


def _variables(module: CoreModule) -> Iterator[tuple[AttributePath, Variable]]:
    """Yields the variables that attributes hold, and then those that none holds.

    `ps.get_parameter`, and the ordinary layers of purestate, make variables that are the value of
    no attribute.
    """
    held = list(_held(module, lambda leaf: isinstance(leaf, (Variable, CoreModule))))
    variables = [(path, leaf) for path, leaf in held if isinstance(leaf, Variable)]
    yield from variables
    known = {variable.path for _, variable in variables}
    modules: list[tuple[AttributePath, Any]] = [((), module), *held]
    with in_a_frame() as frame:
        for path, leaf in modules:
            if isinstance(leaf, CoreModule) and leaf.creation_frame_id == frame.frame_id:
                yield from _without_attribute(frame, path, leaf, known)


def _without_attribute(
    frame: Frame, path: AttributePath, module: Any, known: set[tuple[str, str]]
) -> Iterator[tuple[AttributePath, Variable]]:
    own: str = module.module_name
    # The modules of an ordinary one are not its attributes, so it has all that is below it.
    is_sonnets = hasattr(type(module), "name_scope")
    for kind, kept in sorted(frame.collections.items()):
        bundles = kept.values
        for where in [own] if is_sonnets else sorted(p for p in bundles if is_inside(p, own)):
            for name, value in sorted(bundles.get(where, {}).items()):
                if (where, name) in known or not hasattr(value, "shape"):
                    continue
                known.add((where, name))
                place = [part for part in where[len(own) :].split("/") if part]
                variable = Variable.existing(frame, module, where, name, kind)
                yield (*path, *place, name), variable


def _held(
    module: Any,
    wanted: Callable[[Any], bool],
    path: AttributePath = (),
    seen: set[int] | None = None,
) -> Iterator[tuple[AttributePath, Any]]:
    """Yields what the attributes of a module hold: its own first, then that of each submodule."""
    seen = {id(module)} if seen is None else seen
    inner: list[tuple[AttributePath, Any]] = []
    for key in sorted(vars(module)):
        if key in _OWN:
            continue
        for leaf_path, leaf in _leaves(vars(module)[key], (*path, key)):
            if id(leaf) in seen:
                continue
            if isinstance(leaf, (Variable, CoreModule)):
                seen.add(id(leaf))
            if wanted(leaf):
                yield leaf_path, leaf
            if isinstance(leaf, CoreModule):
                inner.append((leaf_path, leaf))
    for leaf_path, leaf in inner:
        yield from _held(leaf, wanted, leaf_path, seen)


def _leaves(value: Any, path: AttributePath) -> Iterator[tuple[AttributePath, Any]]:
    """Yields the leaves of nested lists, tuples and dicts, with the path to each."""
    if isinstance(value, (Variable, CoreModule, str, int, float)) or value is None:
        yield path, value
        return
    try:
        leaves = jax.tree_util.tree_leaves_with_path(value, is_leaf=is_variable)
    except (TypeError, ValueError):  # keys that cannot be sorted: no structure of variables
        return
    for keys, leaf in leaves:
        yield (*path, *(_key_name(key) for key in keys)), leaf


def _key_name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
