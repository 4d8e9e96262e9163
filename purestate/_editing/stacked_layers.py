"""Converts trees between a model with a loop over its layers and one with `layer_stack`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.path import is_inside
from purestate._editing.differences import difference, shape_of
from purestate._editing.errors import BundleError, PathError
from purestate._editing.paths import join, named_leaves, near, with_heads

DEFAULT_LAYERS = "block_{}"


def stack_layers(tree: Any, layers: str = DEFAULT_LAYERS, stacked: str | None = None) -> Any:
    """Converts layers of a loop, `block_0 ... block_n`, to the stacked arrays of `layer_stack`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> params = {
    ...     "block_0": {"w": jnp.zeros([3])},
    ...     "block_1": {"w": jnp.ones([3])},
    ...     "head": {"w": jnp.ones([1])},
    ... }
    >>> stacked = ps.stack_layers(params, "block_{}", "blocks/block")
    >>> jax.tree.map(jnp.shape, stacked)
    {'blocks/block': {'w': (2, 3)}, 'head': {'w': (1,)}}

    `unstack_layers` with the same names is the inverse. Both convert params, state, and the state
    of optimizers that treat each number separately, such as SGD and Adam: the other model goes on
    as this one would. The state of an optimizer that looks at a whole array at once (adafactor,
    LAMB, muon) means something else for a stacked array.

    Args:
      tree: a bundle, or any pytree with bundles in it.
      layers: the names of the layers: "block_{}" for block_0, block_1, ...; or a name without
        braces for the names that purestate makes: "block" for block, block_1, block_2, ... Modules
        inside the layers are converted too.
      stacked: the name of the module inside `layer_stack`: the `name` of the stack and the name of
        the module, as in "blocks/block"; None for a `layer_stack` without a name.

    Returns:
      A new tree.

    Raises:
      PathError: no module has such a name, a layer is missing, or the new name exists already.
      BundleError: layers differ in structure, shapes or dtypes.
    """
    stacked = stacked or _default_name(layers)
    index_of = _index_of(layers)

    def convert(bundle: Mapping[str, Any]) -> dict[str, Any]:
        parts = {found[1] for key in bundle if (found := index_of(key))}
        count = 1 + max(found[0] for key in bundle if (found := index_of(key)))
        taken = {stacked + rest for rest in parts} & {
            key for key in bundle if index_of(key) is None
        }
        if taken:
            raise _taken("stack_layers", layers, min(taken))
        result: dict[str, Any] = {}
        for key, value in bundle.items():
            found = index_of(key)
            if found is None:
                result[key] = value
            elif stacked + found[1] not in result:
                names = [_name_of(layers, index) + found[1] for index in range(count)]
                missing = [name for name in names if name not in bundle]
                if missing:
                    raise PathError(
                        f"stack_layers: there is {key!r}, but not"
                        f" {', '.join(map(repr, missing[:4]))}. It needs all layers from"
                        f" {_name_of(layers, 0)!r} on, with the same modules inside."
                    )
                result[stacked + found[1]] = _stacked([bundle[name] for name in names], names)
        return result

    return _convert(
        tree,
        convert,
        lambda key: index_of(key) is not None,
        f"stack_layers: no module is called like {layers!r}.",
        layers,
    )


def unstack_layers(tree: Any, layers: str = DEFAULT_LAYERS, stacked: str | None = None) -> Any:
    """Converts stacked arrays of `layer_stack` to the layers of a loop, `block_0 ... block_n`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     return ps.layer_stack(2, name="blocks")(lambda x: ps.Linear(3, name="block")(x))(x)
    >>> f = ps.transform(forward)
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> jax.tree.map(jnp.shape, ps.unstack_layers(params, "block_{}", "blocks/block"))
    {'block_0': {'b': (3,), 'w': (3, 3)}, 'block_1': {'b': (3,), 'w': (3, 3)}}

    Args:
      tree: a bundle, or any pytree with bundles in it.
      layers: see `stack_layers`.
      stacked: see `stack_layers`.

    Returns:
      A new tree.

    Raises:
      PathError: no module has such a name, or a new name exists already.
      BundleError: the stacked arrays differ in length.
    """
    name = stacked or _default_name(layers)
    lengths = {
        shape_of(leaf)[0] if shape_of(leaf) else None: path
        for path, leaf in _leaves_of_modules(tree, name)
    }  # fmt: skip
    if len(lengths) > 1 or None in lengths:
        told = ", ".join(
            f"{path!r} {'is a scalar' if n is None else f'has {n}'}" for n, path in lengths.items()
        )
        raise BundleError(
            f"unstack_layers: the arrays of {name!r} must be stacks of one length, but {told}."
        )
    count = next(iter(lengths), None) or 0

    def convert(bundle: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in bundle.items():
            if not is_inside(key, name):
                new = {key: value}
            else:
                new = {
                    _name_of(layers, i) + key[len(name) :]: jax.tree.map(
                        lambda leaf, i=i: _layer(leaf, i), value
                    )
                    for i in range(count)
                }
            for to in new:
                if to in result or (
                    to in bundle and not is_inside(to, name) and is_inside(key, name)
                ):
                    raise _taken("unstack_layers", key, to)
            result |= new
        return result

    return _convert(
        tree,
        convert,
        lambda key: is_inside(key, name),
        f"unstack_layers: the params have no module {name!r}.",
        name,
    )


def _default_name(layers: str) -> str:
    """The name of the module in a `layer_stack` without a name."""
    module = layers.replace("_{}", "").replace("{}", "").rpartition("/")[2]
    return join("__layer_stack_no_per_layer", module)


def _name_of(layers: str, index: int) -> str:
    if "{}" in layers:
        return layers.replace("{}", str(index))
    return f"{layers}_{index}" if index else layers


def _index_of(layers: str) -> Callable[[Any], tuple[int, str] | None]:
    """Returns a function from the name of a module to the number of its layer and the rest."""
    if layers.count("{}") > 1:
        raise PathError(
            f"{layers!r} has {layers.count('{}')} places for the number of a layer. Write one,"
            " such as 'block_{}'."
        )
    head, _, tail = layers.partition("{}")
    if "{}" in layers:
        pattern = re.compile(rf"{re.escape(head)}(0|[1-9]\d*){re.escape(tail)}((?:/.*)?)")
    else:
        pattern = re.compile(rf"{re.escape(layers)}(?:_([1-9]\d*))?((?:/.*)?)")

    def index_of(key: Any) -> tuple[int, str] | None:
        match = pattern.fullmatch(key) if isinstance(key, str) else None
        return (int(match[1] or 0), match[2]) if match else None

    return index_of


def _convert(
    tree: Any,
    convert: Callable[..., Any],
    is_wanted: Callable[[Any], bool],
    nothing: str,
    name: str,
) -> Any:
    """Converts every dict that has modules with the wanted names."""

    def is_bundle(node: Any) -> bool:
        return isinstance(node, Mapping) and any(
            isinstance(key, str) and is_wanted(key) for key in node
        )

    found: list[None] = []

    def convert_node(node: Any) -> Any:
        if not is_bundle(node):
            return node
        found.append(None)
        return convert(node)

    result = jax.tree.map(convert_node, tree, is_leaf=is_bundle)
    if not found:
        raise PathError(nothing + near(name, with_heads(path for path, _ in named_leaves(tree))))
    return result


def _leaves_of_modules(tree: Any, name: str) -> list[tuple[str, Any]]:
    """Returns the leaves of all modules of a name, and of modules inside them."""

    def is_bundle(node: Any) -> bool:
        return isinstance(node, Mapping) and any(
            isinstance(key, str) and is_inside(key, name) for key in node
        )

    return [
        (join(key, path), leaf)
        for node in jax.tree.leaves(tree, is_leaf=is_bundle)
        if is_bundle(node)
        for key, value in node.items()
        if is_inside(key, name)
        for path, leaf in named_leaves(value)
    ]


def _stacked(trees: list[Any], names: list[str]) -> Any:
    for tree, name in zip(trees[1:], names[1:], strict=True):
        where = difference(trees[0], tree, (repr(names[0]), repr(name)))
        if where is None:
            pairs = zip(named_leaves(trees[0]), named_leaves(tree), strict=True)
            where = next(
                (
                    f"{n!r} is {_kind(a)} in {names[0]!r} and {_kind(b)} in {name!r}"
                    for (n, a), (_, b) in pairs
                    if _kind(a) != _kind(b)
                ),
                None,
            )
        if where is not None:
            raise BundleError(f"stack_layers: layers must be alike to be stacked, but {where}.")
    return jax.tree.map(_stack, *trees)


def _kind(leaf: Any) -> tuple[Any, str]:
    return shape_of(leaf), str(getattr(leaf, "dtype", type(leaf).__name__))


def _stack(*leaves: Any) -> Any:
    first = leaves[0]
    if isinstance(first, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((len(leaves), *first.shape), first.dtype)
    if all(isinstance(leaf, (np.ndarray, np.generic)) for leaf in leaves):
        return np.stack(leaves)
    return jnp.stack(leaves)


def _layer(leaf: Any, index: int) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
    return leaf[index]


def _taken(what: str, key: str, name: str) -> PathError:
    return PathError(f"{what}: {key!r} cannot become {name!r}, since that exists already.")
