"""Parts of a model: which arrays they keep, and how they are put together again."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from purestate._core.collection import Bundle
from purestate._core.outlines import outline
from purestate._editing.differences import difference, mismatch
from purestate._editing.holes import partition
from purestate._editing.paths import is_hole
from purestate._views.errors import ViewError, ViewTypeError

Keys = jax.Array | dict[str, jax.Array] | None
"""A key, or keys by stream, or none."""

Parts = tuple[tuple[Any, Any], tuple[Any, Any], tuple[Keys, Keys]]
"""What is chosen and the rest, of params, state and key."""


def holes(tree: object) -> Any:
    """Returns a tree with a hole for each leaf."""
    return jax.tree.map(lambda leaf: None, tree)


def copied(tree: Any) -> Any:
    """Returns a tree of the same leaves, which has no dict in common with this one."""
    return jax.tree.map(lambda leaf: leaf, tree)


def filled(part: Any, old: Any, what: str) -> Any:
    """Returns `part` with the old values in its holes."""
    where = difference(part, old, ("the part", "the model"))
    if where is not None:
        raise ViewError(
            f"`model.update`: the {what} have another structure than the model's: {where}."
        )
    # Params keep their shapes. State may change its shape in a call, as a cache does.
    where = mismatch(part, old, ("the part", "the model")) if what == "params" else None
    if where is not None:
        raise ViewError(
            f"`model.update`: the params do not fit the model: {where}. Pass params of the model's"
            " shapes, or make a model of the new ones: ps.bind(f, params, state)."
        )
    return jax.tree.map(
        lambda new, before: before if new is None else new, part, old, is_leaf=is_hole
    )


def filled_in(part: Bundle, old: Bundle, what: str) -> Bundle:
    """Returns all modules of `old`, with the values of the modules that `part` has."""
    same = {module: bundle for module, bundle in old.items() if module in part}
    return {**old, **filled(part, same, what)}


def as_bundle(bundle: Mapping[str, Any], what: str) -> Bundle:
    """Returns a bundle of plain dicts."""
    wrong = [value for value in bundle.values() if not isinstance(value, Mapping)]
    if wrong:
        raise ViewTypeError(
            f"`ps.bind`: {what} has to be {{module: {{name: array}}}}, but it has"
            f" {outline(wrong[0])} in the place of a dict. For `transform_with_collections` it"
            " takes all variables, {'params': params, **others}."
        )
    return {module: dict(values) for module, values in bundle.items()}


def parts_by_predicate(f: Callable[..., Any], params: Bundle, state: Bundle, rng: Keys) -> Parts:
    """Splits params and state by a function of leaves, or by a predicate of `ps.surgery`."""
    return partition(params, f), partition(state, f), (None, rng)


def parts_by_name(
    name: str, params: Bundle, state: Bundle, rng: Keys, collections: Mapping[str, Any]
) -> Parts:
    """Splits by "params", "state" or "rng", or by the name of one of the collections."""
    if name not in ("params", "state", "rng", *collections):
        raise ViewError(
            f"`model.filter({name!r})`: a name has to be one of"
            f" {', '.join(['params', 'state', 'rng', *collections])}; for others give a"
            " predicate, such as ps.surgery.glob('encoder/*')."
        )
    if collections:
        each = {c: _split(bundle, name in (c, "state")) for c, bundle in collections.items()}
        one, other = ({c: both[i] for c, both in each.items()} for i in (0, 1))
    else:
        one, other = _split(state, name == "state")
    keys = (rng, None) if name in ("state", "rng") else (None, rng)
    return _split(params, name == "params"), (one, other), keys


def _split(tree: Any, is_chosen: bool) -> tuple[Any, Any]:
    return (tree, holes(tree)) if is_chosen else (holes(tree), tree)


def split_key(rng: Keys) -> tuple[Keys, Keys]:
    """Returns the key to keep and the key to use; for keys by stream, dicts of them."""
    if rng is None:
        return None, None
    if isinstance(rng, Mapping):
        pairs = {stream: jax.random.split(key) for stream, key in rng.items()}
        kept = {stream: keep for stream, (keep, _) in pairs.items()}
        return kept, {stream: use for stream, (_, use) in pairs.items()}
    keep, use = jax.random.split(rng)
    return keep, use
