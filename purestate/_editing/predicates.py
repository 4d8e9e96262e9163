"""Predicates of variables by name, module, dtype and size."""

import dataclasses
import fnmatch
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import kind_of
from purestate._core.outlines import outline_argument
from purestate._editing.differences import shape_of
from purestate._editing.errors import PredicateError
from purestate._editing.paths import path_string
from purestate._editing.predicate import Predicate
from purestate._state.specs import Spec


def glob(pattern: str) -> Predicate:
    """Holds for variables whose full name matches a pattern.

    >>> import purestate as ps
    >>> is_weight = ps.surgery.glob("encoder/*/w")
    >>> is_weight("encoder/~/linear_0/w", 0.0), is_weight("decoder/linear/w", 0.0)
    (True, False)

    Args:
      pattern: for the whole name, "module/name". `*` matches any characters, slashes too; `?`
        matches one character, `[ab]` one of these.

    Returns:
      A predicate.

    Raises:
      PredicateError: `pattern` is not a string.
    """
    if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PredicateError(
            f"glob takes a pattern of names, such as '*/w', but got {kind_of(pattern)}."
        )
    matches = _NameMatches(re.compile(fnmatch.translate(pattern)))
    return Predicate(matches, description=f"glob({pattern!r})")


def regex(pattern: str) -> Predicate:
    r"""Holds for variables whose full name matches a regular expression as a whole.

    >>> import purestate as ps
    >>> ps.surgery.regex(r".*linear_\d+/w")("mlp/~/linear_0/w", 0.0)
    True

    Args:
      pattern: for the whole name, "module/name".

    Returns:
      A predicate.

    Raises:
      PredicateError: `pattern` is not a string.
    """
    if not isinstance(pattern, (str, re.Pattern)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PredicateError(
            f"regex takes a pattern of names, such as '.*/w', but got {kind_of(pattern)}."
        )
    return Predicate(_NameMatches(re.compile(pattern)), description=f"regex({pattern!r})")


@dataclasses.dataclass(frozen=True)
class _NameMatches:
    pattern: re.Pattern[str]

    def __call__(self, path: str, leaf: Any) -> bool:
        return self.pattern.fullmatch(path) is not None


def of_spec(f: Callable[[Spec], Any], specs: Any) -> Predicate:
    """Holds for variables whose spec a function accepts.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(3)(x))
    >>> specs = ps.specs(f)(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.surgery.of_spec(lambda spec: spec.initializer is jnp.zeros, specs)("linear/b", 0.0)
    True

    Args:
      f: `f(spec) -> bool`.
      specs: what `ps.specs` returned.

    Returns:
      A predicate.

    Raises:
      PredicateError: `specs` has no `Spec`.
    """
    return _of_spec(f, specs, f"of_spec({f!r})")


def of_module(cls: type | tuple[type, ...], specs: Any) -> Predicate:
    """Holds for variables that modules of a class, or of a subclass, made.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.LayerNorm(-1, True, True)(ps.Linear(3)(x)))
    >>> specs = ps.specs(f)(jax.random.key(0), jnp.ones([2, 4]))
    >>> params = f.init(jax.random.key(0), jnp.ones([2, 4]))
    >>> ps.surgery.of_module(ps.Linear, specs)(params)
    {'layer_norm': {'offset': False, 'scale': False}, 'linear': {'b': True, 'w': True}}

    Args:
      cls: a class of modules, or a tuple of classes.
      specs: what `ps.specs` returned, which has the class for each variable.

    Returns:
      A predicate.

    Raises:
      PredicateError: `specs` has no `Spec`.
    """
    classes = cls if isinstance(cls, tuple) else (cls,)
    wrong = [
        one
        for one in classes
        if not isinstance(one, type)  # pyright: ignore[reportUnnecessaryIsInstance]
    ]
    if wrong:
        raise PredicateError(
            "of_module takes a class of modules, or a tuple of classes, and then specs; but it got"
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
        if f(spec):
            # Its name in params, in a dict of collections, and in a tree like the specs.
            names |= {spec.path, f"{spec.collection}/{spec.path}", path_string(path)}
    if not found:
        raise PredicateError(
            f"{description} needs the specs of the variables: ps.specs(f)(rng, *args). It got"
            f" {kind_of(specs)}."
        )
    return Predicate(_HasName(frozenset(names)), description=description)


@dataclasses.dataclass(frozen=True)
class _HasName:
    names: frozenset[str]

    def __call__(self, path: str, leaf: Any) -> bool:
        return path in self.names


def has_dtype(dtype: Any) -> Predicate:
    """Holds for arrays of a dtype, or of a kind of dtypes.

    >>> import jax.numpy as jnp, purestate as ps
    >>> is_float, is_int8 = ps.surgery.has_dtype(jnp.floating), ps.surgery.has_dtype("int8")
    >>> is_float(jnp.ones([2], jnp.bfloat16)), is_int8(jnp.ones([2]))
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
            "has_dtype takes a dtype, such as jnp.float32, or a kind such as jnp.floating, but got"
            f" {outline_argument(dtype)}."
        ) from None
    return Predicate(_HasDtype(dtype), needs_path=False, description=f"has_dtype({dtype!r})")


@dataclasses.dataclass(frozen=True)
class _HasDtype:
    dtype: Any

    def __call__(self, path: str, leaf: Any) -> bool:
        return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, self.dtype))


def has_ndim(*ndims: int) -> Predicate:
    """Holds for arrays with one of these numbers of axes.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.surgery.has_ndim(0, 1)(jnp.ones([3]))
    True

    Args:
      *ndims: numbers of axes.

    Returns:
      A predicate; it needs no path.

    Raises:
      PredicateError: one of them is not a number.
    """
    for ndim in ndims:
        _check_number("has_ndim", ndim)
    description = f"has_ndim({', '.join(map(repr, ndims))})"
    return Predicate(_HasNdim(ndims), needs_path=False, description=description)


@dataclasses.dataclass(frozen=True)
class _HasNdim:
    ndims: tuple[int, ...]

    def __call__(self, path: str, leaf: Any) -> bool:
        return len(shape_of(leaf)) in self.ndims


def larger_than(size: int) -> Predicate:
    """Holds for arrays with more than `size` elements.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.surgery.larger_than(5)(jnp.ones([2, 3])), ps.surgery.larger_than(6)(jnp.ones([2, 3]))
    (True, False)

    Args:
      size: a number of elements.

    Returns:
      A predicate; it needs no path.

    Raises:
      PredicateError: `size` is not a number.
    """
    _check_number("larger_than", size)
    return Predicate(_LargerThan(size), needs_path=False, description=f"larger_than({size})")


@dataclasses.dataclass(frozen=True)
class _LargerThan:
    size: int

    def __call__(self, path: str, leaf: Any) -> bool:
        return math.prod(shape_of(leaf)) > self.size


def _check_number(call: str, value: Any) -> None:
    if not isinstance(value, (int, float, np.number)):
        raise PredicateError(f"{call} takes a number, but got {outline_argument(value)}.")


def as_predicate(given: Any) -> Callable[[str, str, Any], Any]:
    """Returns a function of module, name and value. A string is a glob."""
    return glob(given) if isinstance(given, str) else _checked(given)


def _checked(given: Any) -> Any:
    if not callable(given):
        raise PredicateError(
            "A predicate must be a function, or one of ps.surgery, but is"
            f" {outline_argument(given)}."
        )
    return given


def ask(given: Any, path: Any, leaf: Any, *, with_path: bool) -> bool:
    """Returns the answer of a function of a leaf, or of path and leaf. A `Predicate` gets both."""
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
