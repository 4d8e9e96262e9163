"""Predicates over variables, by name, module, dtype and size, which combine with `&`, `|` and `~`."""

import fnmatch
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import PurestateError, kind_of
from purestate._core.outlines import outline_argument
from purestate._editing.paths import full_name, path_string, shape_of
from purestate._state.specs import Spec


class PredicateError(PurestateError, TypeError):
    """A predicate was called, or combined, in a way that has no meaning."""


class Predicate:
    """Says yes or no to a variable, however it is asked; combines with others by `&`, `|` and `~`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> no_decay = ps.surgery.glob("*/b") | ps.surgery.has_ndim(0)
    >>> params = {"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}}
    >>> (~no_decay)(params)
    {'linear': {'b': False, 'w': True}}
    >>> no_decay("linear/b", params["linear"]["b"])
    True
    >>> ps.data_structures.filter(ps.surgery.Predicate(lambda path, leaf: leaf.size > 2), params).keys()
    dict_keys(['linear'])

    It may be called with a leaf; with a path (a string, or JAX's key path) and a leaf; with module,
    name and value, as `data_structures.filter` and others do; or with a whole tree, for a tree of
    bools, as optax does with a mask: `optax.adamw(1e-3, mask=~no_decay)`.

    Args:
      holds: `holds(path, leaf) -> bool`, `path` being a string such as "mlp/~/linear_0/w".
      needs_path: whether it looks at the path, so that a leaf alone is not enough.
      description: what it is shown as.
    """

    __slots__ = ("_description", "_holds", "needs_path")

    def __init__(
        self,
        holds: Callable[[str, Any], Any],
        *,
        needs_path: bool = True,
        description: str | None = None,
    ):
        self._holds = holds
        self.needs_path = needs_path
        self._description = description or f"Predicate({holds!r})"

    def __call__(self, *args: Any) -> Any:
        """Returns whether it holds; for a tree, a tree of bools.

        Args:
          *args: `leaf`, `tree`, `path, leaf`, or `module, name, value`.

        Returns:
          A bool, or a tree of bools.

        Raises:
          PredicateError: it looks at paths, and was given a leaf alone; or more than three
            arguments.
        """
        if len(args) == 3:
            module, name, value = args
            return bool(self._holds(full_name(module, name), value))
        if len(args) == 2:
            path, leaf = args
            return bool(self._holds(path_string(path), leaf))
        if len(args) != 1:
            raise PredicateError(
                f"{self!r} takes a leaf, a tree, (path, leaf) or (module, name, value), but was"
                f" given {len(args)} arguments."
            )
        (tree,) = args
        if not jax.tree_util.all_leaves([tree]):
            return jax.tree_util.tree_map_with_path(self, tree)
        if self.needs_path:
            raise PredicateError(
                f"{self!r} looks at the path of a variable, and was given a leaf alone. Use it"
                " where paths are known: ps.surgery.filter_with_path and partition_with_path,"
                " ps.data_structures, or on a whole tree."
            )
        return bool(self._holds("", tree))

    def __and__(self, other: Any) -> "Predicate":
        if not isinstance(other, Predicate):
            return NotImplemented
        return self._with(
            other, lambda path, leaf: self._holds(path, leaf) and other._holds(path, leaf), "&"
        )

    def __or__(self, other: Any) -> "Predicate":
        if not isinstance(other, Predicate):
            return NotImplemented
        return self._with(
            other, lambda path, leaf: self._holds(path, leaf) or other._holds(path, leaf), "|"
        )

    def __invert__(self) -> "Predicate":
        return Predicate(
            lambda path, leaf: not self._holds(path, leaf),
            needs_path=self.needs_path,
            description=f"~{self!r}",
        )

    def _with(self, other: "Predicate", holds: Callable[[str, Any], Any], sign: str) -> "Predicate":
        return Predicate(
            holds,
            needs_path=self.needs_path or other.needs_path,
            description=f"({self!r} {sign} {other!r})",
        )

    def __bool__(self) -> bool:
        raise PredicateError(
            f"{self!r} is neither true nor false by itself. Combine predicates with &, | and ~ in"
            " place of and, or and not."
        )

    def __repr__(self) -> str:
        return self._description


def glob(pattern: str) -> Predicate:
    """Holds for variables whose full name is like a pattern.

    >>> import purestate as ps
    >>> is_weight = ps.surgery.glob("encoder/*/w")
    >>> is_weight("encoder/~/linear_0/w", 0.0), is_weight("decoder/linear/w", 0.0)
    (True, False)

    Args:
      pattern: of the whole name, "module/name": `*` stands for any characters, slashes too, since
        purestate's names have a `~` here and there; `?` for one; `[ab]` for one of these.

    Returns:
      A predicate.

    Raises:
      PredicateError: `pattern` is no string.
    """
    if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PredicateError(
            f"glob takes a pattern of names, such as '*/w', but was given {kind_of(pattern)}."
        )
    matches = re.compile(fnmatch.translate(pattern)).match
    return Predicate(lambda path, leaf: matches(path) is not None, description=f"glob({pattern!r})")


def regex(pattern: str) -> Predicate:
    r"""Holds for variables whose full name matches a regular expression, from the first to the last character.

    >>> import purestate as ps
    >>> ps.surgery.regex(r".*linear_\d+/w")("mlp/~/linear_0/w", 0.0)
    True

    Args:
      pattern: of the whole name, "module/name".

    Returns:
      A predicate.

    Raises:
      PredicateError: `pattern` is no string.
    """
    if not isinstance(pattern, (str, re.Pattern)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PredicateError(
            f"regex takes a pattern of names, such as '.*/w', but was given {kind_of(pattern)}."
        )
    matches = re.compile(pattern).fullmatch
    return Predicate(
        lambda path, leaf: matches(path) is not None, description=f"regex({pattern!r})"
    )


def of_spec(f: Callable[[Spec], Any], specs: Any) -> Predicate:
    """Holds for variables for whose spec something holds.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(3)(x))
    >>> specs = ps.specs(f)(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.surgery.of_spec(lambda spec: spec.initializer is jnp.zeros, specs)("linear/b", 0.0)
    True

    Args:
      f: `f(spec) -> bool`.
      specs: what `ps.specs` gave.

    Returns:
      A predicate.

    Raises:
      PredicateError: there is no `Spec` in `specs`.
    """
    return _of_spec(f, specs, f"of_spec({f!r})")


def of_module(cls: type | tuple[type, ...], specs: Any) -> Predicate:
    """Holds for variables that modules of a class made, or of a subclass.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.LayerNorm(-1, True, True)(ps.Linear(3)(x)))
    >>> specs = ps.specs(f)(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.surgery.of_module(ps.Linear, specs)(f.init(jax.random.key(0), jnp.ones([2, 4])))
    {'layer_norm': {'offset': False, 'scale': False}, 'linear': {'b': True, 'w': True}}

    Args:
      cls: a class of modules, or several.
      specs: what `ps.specs` gave, which knows them.

    Returns:
      A predicate.

    Raises:
      PredicateError: there is no `Spec` in `specs`.
    """
    classes = cls if isinstance(cls, tuple) else (cls,)
    wrong = [one for one in classes if not isinstance(one, type)]  # pyright: ignore[reportUnnecessaryIsInstance]
    if wrong:
        raise PredicateError(
            "of_module takes a class of modules, or several, and then specs; but got"
            f" {kind_of(wrong[0])} first."
        )
    return _of_spec(
        lambda spec: spec.module is not None and issubclass(spec.module, classes),
        specs,
        f"of_module({', '.join(one.__name__ for one in classes)})",
    )


def _of_spec(f: Callable[[Spec], Any], specs: Any, description: str) -> Predicate:
    names: set[str] = set()
    found = False
    for path, spec in jax.tree_util.tree_leaves_with_path(specs):
        if not isinstance(spec, Spec):
            break
        found = True
        if f(
            spec
        ):  # the same variable may be met in params alone, in a dict of collections, and in (params, state)
            names |= {spec.path, f"{spec.collection}/{spec.path}", path_string(path)}
    if not found:
        raise PredicateError(
            f"{description} needs the specs of the variables: ps.specs(f)(rng, *args). It was given"
            f" {kind_of(specs)}."
        )
    return Predicate(lambda path, leaf: path in names, description=description)


def has_dtype(dtype: Any) -> Predicate:
    """Holds for arrays of a dtype, or of a kind of dtypes.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.surgery.has_dtype(jnp.floating)(jnp.ones([2], jnp.bfloat16)), ps.surgery.has_dtype("int8")(jnp.ones([2]))
    (True, False)

    Args:
      dtype: a dtype, its name, or a kind such as `jnp.floating` or `jnp.integer`.

    Returns:
      A predicate; it needs no path.
    """
    try:
        jnp.issubdtype(jnp.float32, dtype)
    except (TypeError, ValueError):
        raise PredicateError(
            "has_dtype takes a dtype, such as jnp.float32, or a kind such as jnp.floating, but was"
            f" given {outline_argument(dtype)}."
        ) from None

    def holds(path: str, leaf: Any) -> bool:
        return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, dtype))

    return Predicate(holds, needs_path=False, description=f"has_dtype({dtype!r})")


def has_ndim(*ndims: int) -> Predicate:
    """Holds for arrays with as many axes.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.surgery.has_ndim(0, 1)(jnp.ones([3]))
    True

    Args:
      *ndims: numbers of axes.

    Returns:
      A predicate; it needs no path.

    Raises:
      PredicateError: one of them is no number.
    """
    for ndim in ndims:
        _check_number("has_ndim", ndim)
    description = f"has_ndim({', '.join(map(repr, ndims))})"
    return Predicate(
        lambda path, leaf: len(shape_of(leaf)) in ndims, needs_path=False, description=description
    )


def larger_than(size: int) -> Predicate:
    """Holds for arrays with more values than that.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.surgery.larger_than(5)(jnp.ones([2, 3])), ps.surgery.larger_than(6)(jnp.ones([2, 3]))
    (True, False)

    Args:
      size: a number of values.

    Returns:
      A predicate; it needs no path.

    Raises:
      PredicateError: `size` is no number.
    """
    _check_number("larger_than", size)
    return Predicate(
        lambda path, leaf: math.prod(shape_of(leaf)) > size,
        needs_path=False,
        description=f"larger_than({size})",
    )


def _check_number(call: str, value: Any) -> None:
    if not isinstance(value, (int, float, np.number)):
        raise PredicateError(f"{call} takes a number, but was given {outline_argument(value)}.")


def as_predicate(given: Any) -> Callable[[str, str, Any], Any]:
    """Returns a function of module, name and value: a string is a glob, all else is one already."""
    return glob(given) if isinstance(given, str) else _checked(given)


def _checked(given: Any) -> Any:
    if not callable(given):
        raise PredicateError(
            "A predicate has to be a function, or one of ps.surgery, but it is"
            f" {outline_argument(given)}."
        )
    return given


def ask(given: Any, path: Any, leaf: Any, *, with_path: bool) -> bool:
    """Asks a function of a leaf, or of path and leaf; a `Predicate` is always told the path."""
    if isinstance(given, Predicate) or with_path:
        answer = _checked(given)(path_string(path), leaf)
    else:
        answer = _checked(given)(leaf)
    try:
        return bool(answer)
    except (TypeError, ValueError):
        raise PredicateError(
            f"A predicate has to return True or False, but returned {outline_argument(answer)} for"
            f" {path_string(path)!r}."
        ) from None
