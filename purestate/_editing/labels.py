"""`labels`: a label for each parameter by its path, for `optax.multi_transform`."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from purestate._core.errors import kind_of
from purestate._core.outlines import outline_argument
from purestate._core.path import is_inside
from purestate._editing.errors import PathError, PredicateError
from purestate._editing.paths import is_hole, named_leaves, near, path_string
from purestate._editing.predicates import ask, glob

Key = str | Callable[..., Any]
"""A glob of full names, or a predicate."""


def labels(
    patterns: Mapping[Any, Hashable], default: Hashable | None = None
) -> Callable[[Any], Any]:
    """Labels parameters by path, as `optax.multi_transform` needs it.

    >>> import jax.numpy as jnp, optax, purestate as ps
    >>> params = {"body": {"w": jnp.ones([3, 3]), "b": jnp.ones([3])}, "head": {"w": jnp.ones([3])}}
    >>> label = ps.labels({"body/*": "slow", "head/*": "fast"})
    >>> label(params)
    {'body': {'b': 'slow', 'w': 'slow'}, 'head': {'w': 'fast'}}
    >>> rates = {"slow": optax.sgd(0.1), "fast": optax.sgd(1.0)}
    >>> opt = ps.Optimizer(optax.multi_transform(rates, label)).init(params)
    >>> params, opt = opt.update(params, params)
    >>> [round(b, 2) for b in params["body"]["b"].tolist()], params["head"]["w"].tolist()
    ([0.9, 0.9, 0.9], [0.0, 0.0, 0.0])

    Predicates say what a glob cannot: `{ps.surgery.has_ndim(2): "matrix"}`. They combine with `&`,
    `|` and `~`. The order of the patterns does not matter.

    Every pattern must match something, and every parameter needs one label. So a typo, or a layer
    that was renamed, is an error and not a parameter that silently trains at another rate. Of
    parameters that `trainable_only` or `optax.masked` leaves out, the names still match. The labels
    are found when optax traces the optimizer, and cost nothing in a compiled step.

    Args:
      patterns: `{pattern: label}`. A pattern is a glob of full names, see `surgery.glob`; or a
        `Predicate`; or a function `f(path, leaf) -> bool`. A label is the name of a transform,
        usually a string.
      default: the label of parameters that no pattern matches; None to raise an error for these.

    Returns:
      A function that takes params, or any pytree, and returns a tree of the same structure with a
      label for each array. Holes (None) stay holes. Two such functions are equal if their patterns
      and labels are. It can be pickled if the patterns can be.

    Raises:
      PredicateError: a pattern is neither a string nor a function, or a label is a container or
        None. The returned function raises it if a pattern looks at a value that JAX traces.
      PathError: from the returned function: a pattern matches nothing, a parameter has no label, or
        two patterns give it different labels.
    """
    if not isinstance(patterns, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PredicateError(
            "ps.labels takes {pattern: label}, such as {'head/*': 'fast'}, but got"
            f" {kind_of(patterns)}."
        )
    for pattern, label in patterns.items():
        if not isinstance(pattern, str) and not callable(pattern):
            raise PredicateError(
                "ps.labels: a pattern must be a glob of names, such as 'head/*', or a predicate of"
                f" ps.surgery, but is {outline_argument(pattern)}."
            )
        _check_label(label)
    if default is not None:
        _check_label(default)
    return Labels(dict(patterns), default)


def _check_label(label: Any) -> None:
    # A container would be a part of the tree of labels, and not a leaf of it.
    if label is None or not jax.tree_util.all_leaves([label]) or not isinstance(label, Hashable):
        raise PredicateError(
            "ps.labels: a label must be a string, or a number, that names a transform of"
            f" optax.multi_transform, but is {outline_argument(label)}."
        )


class Labels:
    """What `labels` returns."""

    __slots__ = ("_default", "_patterns")

    def __init__(self, patterns: dict[Key, Hashable], default: Hashable | None):
        self._patterns = patterns
        self._default = default

    def __call__(self, tree: Any) -> Any:
        asked = {p: glob(p) if isinstance(p, str) else p for p in self._patterns}
        leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
        found = [
            [p for p, f in asked.items() if ask(f, path, leaf, with_path=True)]
            for path, leaf in leaves
        ]
        # First the patterns: after a typo in one, the parameters that it meant lack a label.
        for pattern in self._patterns:
            if not any(pattern in patterns for patterns in found):
                _check_matches_hole(pattern, tree)
        return treedef.unflatten(
            [
                self._chosen(path_string(path), patterns)
                for (path, _), patterns in zip(leaves, found, strict=True)
            ]
        )

    def _chosen(self, path: str, found: list[Key]) -> Hashable:
        """Returns the label that all patterns agree on which match a variable."""
        if not found:
            if self._default is None:
                raise PathError(
                    f"ps.labels: no pattern matches {path!r}. Add one for it, or pass the label of"
                    " all that the patterns leave out: ps.labels(patterns, default=label)."
                )
            return self._default
        first, label = found[0], self._patterns[found[0]]
        for other in found[1:]:
            if self._patterns[other] != label:
                raise PathError(
                    f"ps.labels: {path!r} gets the label {label!r} from {first!r} and"
                    f" {self._patterns[other]!r} from {other!r}. Leave it out of one of them:"
                    f" {_predicate(first)} & ~{_predicate(other)}."
                )
        return label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self._parts() == other._parts()

    def __hash__(self) -> int:
        patterns, default = self._parts()
        return hash((frozenset(patterns.items()), default))

    def _parts(self) -> tuple[dict[Key, Hashable], Hashable | None]:
        return self._patterns, self._default

    def __reduce__(self) -> Any:
        return Labels, self._parts()

    def __repr__(self) -> str:
        default = "" if self._default is None else f", default={self._default!r}"
        return f"labels({self._patterns!r}{default})"


def _predicate(pattern: Key) -> str:
    return f"glob({pattern!r})" if isinstance(pattern, str) else repr(pattern)


def _check_matches_hole(pattern: Key, tree: Any) -> None:
    """Raises unless a pattern that matches no leaf may be meant for one that is left out."""
    names = [name for name, _ in named_leaves(tree)]
    everything = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_left_out)
    left_out = [path_string(path) for path, leaf in everything if _is_left_out(leaf)]
    # Only the names are known of leaves that are left out.
    if left_out and (not isinstance(pattern, str) or any(glob(pattern)(n, None) for n in left_out)):
        return
    start = f"ps.labels: the pattern {pattern!r} matches no variable."
    if not isinstance(pattern, str):
        raise PathError(f"{start} It looked at {_some(names)}.")
    module = pattern.rstrip("/")
    if any(is_inside(name, module) for name in names):
        raise PathError(f"{start} For all variables in that module write '{module}/*'.")
    if any(name.endswith(f"/{module}") for name in names):
        raise PathError(f"{start} A glob is for the whole name: write '*/{module}'.")
    raise PathError(f"{start}{near(pattern.strip('*/'), [*_modules(names), *names])}")


def _modules(names: list[str]) -> list[str]:
    """Returns the beginnings of names, up to each slash."""
    parts = [name.split("/") for name in names]
    heads = ["/".join(part[:n]) for part in parts for n in range(1, len(part))]
    return [head for head in dict.fromkeys(heads) if not head.endswith("~")]


def _is_left_out(node: Any) -> bool:
    # A hole, which `trainable_only` makes, or a `MaskedNode` of optax: an empty named tuple.
    return is_hole(node) or (isinstance(node, tuple) and not node)


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8])) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )
    return shown or "an empty tree"
