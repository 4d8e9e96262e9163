"""Splits and merges bundles: nested dicts `{module: {name: value}}`.

The names are dm-haiku's, and are meant to be used as `ps.data_structures.filter`.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from purestate._core.collection import Bundle
from purestate._core.errors import kind_of
from purestate._core.outlines import check_function, outline_argument
from purestate._editing.array_format import format_array
from purestate._editing.dicts import to_haiku_dict
from purestate._editing.errors import BundleError, BundleTypeError, PartError

AnyBundle = Mapping[str, Mapping[str, Any]]

_MOST_PARTS = 1_000_000  # each is a dict: more would fill the memory


def traverse(structure: AnyBundle) -> Iterator[tuple[str, str, Any]]:
    """Iterates over a bundle in alphabetical order.

    >>> import purestate as ps
    >>> list(ps.data_structures.traverse({"b": {"w": 1}, "a": {"x": 2, "w": 3}}))
    [('a', 'w', 3), ('a', 'x', 2), ('b', 'w', 1)]

    Args:
      structure: `{module: {name: value}}`.

    Yields:
      Module, name and value.

    Raises:
      BundleTypeError: `structure` is not two mappings deep.
    """
    if not hasattr(structure, "keys"):  # some containers of TensorFlow are not a Mapping
        raise _not_a_bundle(structure, "")
    for module in sorted(structure):
        values = structure[module]
        if not hasattr(values, "keys"):
            raise _not_a_bundle(values, f"[{module!r}]")
        for name in sorted(values):
            yield module, name, values[name]


def _not_a_bundle(value: Any, where: str) -> BundleTypeError:
    what = format_array(value) if _is_array(value) else kind_of(value)
    return BundleTypeError(
        f"`structure{where}` must be a dict, since a structure is {{module: {{name: value}}}},"
        f" but is {what}. For any other tree use jax.tree."
    )


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def partition(
    predicate: Callable[[str, str, Any], bool], structure: AnyBundle
) -> tuple[Bundle, Bundle]:
    """Splits a bundle into the values that a predicate accepts, and the rest.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 1, "b": 2}}
    >>> ps.data_structures.partition(lambda module, name, value: name == "w", params)
    ({'linear': {'w': 1}}, {'linear': {'b': 2}})

    Args:
      predicate: a function of module, name and value.
      structure: `{module: {name: value}}`.

    Returns:
      Two bundles; `merge` is the inverse.

    Raises:
      BundleTypeError: `structure` is not two mappings deep.
    """
    check_function("partition", predicate)
    matching, rest = partition_n(lambda *item: 0 if predicate(*item) else 1, structure, 2)
    return matching, rest


def partition_n(
    fn: Callable[[str, str, Any], int], structure: AnyBundle, n: int
) -> tuple[Bundle, ...]:
    """Splits a bundle into `n` parts.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 1, "b": 2}, "norm": {"scale": 3}}
    >>> ps.data_structures.partition_n(lambda module, name, value: len(name) % 3, params, 3)
    ({}, {'linear': {'b': 2, 'w': 1}}, {'norm': {'scale': 3}})

    Args:
      fn: a function of module, name and value; returns the number of the part, from 0.
      structure: `{module: {name: value}}`.
      n: the number of parts.

    Returns:
      `n` bundles; `merge` is the inverse.

    Raises:
      PartError: `fn` returned something else than a number from 0 to n - 1.
      BundleError: `n` is less than 1, or far too large.
      BundleTypeError: `structure` is not two mappings deep.
    """
    check_function("partition_n", fn)
    if not _is_from(1, n, _MOST_PARTS):
        raise BundleError(
            f"partition_n splits a bundle into n parts, from 1 to {_MOST_PARTS}, but got"
            f" n={outline_argument(n)}."
        )
    parts: list[Bundle] = [{} for _ in range(n)]
    for module, name, value in traverse(structure):
        i = fn(module, name, value)
        if not _is_from(0, i, n - 1):
            raise PartError(
                f"partition_n with n={n}: fn returned {outline_argument(i)} for {name!r} of"
                f" {module!r}; it must return a number from 0 to {n - 1}."
            )
        parts[i].setdefault(module, {})[name] = value
    return tuple(to_haiku_dict(part) for part in parts)


def _is_from(least: int, value: Any, most: int) -> bool:
    try:
        return least <= operator.index(value) <= most
    except TypeError:
        return False


def filter(  # noqa: A001 (dm-haiku's name)
    predicate: Callable[[str, str, Any], bool], structure: AnyBundle
) -> Bundle:
    """Returns the part of a bundle that a predicate accepts.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 1, "b": 2}}
    >>> ps.data_structures.filter(lambda module, name, value: name == "w", params)
    {'linear': {'w': 1}}

    Args:
      predicate: a function of module, name and value.
      structure: `{module: {name: value}}`.

    Returns:
      A bundle.

    Raises:
      BundleTypeError: `structure` is not two mappings deep.
    """
    check_function("filter", predicate)
    return partition(predicate, structure)[0]


def map(  # noqa: A001 (dm-haiku's name)
    fn: Callable[[str, str, Any], Any], structure: AnyBundle
) -> Bundle:
    """Returns a bundle with `fn(module, name, value)` for each value.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 1, "b": 2}}
    >>> ps.data_structures.map(lambda module, name, value: value * 10, params)
    {'linear': {'b': 20, 'w': 10}}

    Args:
      fn: a function of module, name and value.
      structure: `{module: {name: value}}`.

    Returns:
      A bundle.

    Raises:
      BundleTypeError: `structure` is not two mappings deep.
    """
    check_function("map", fn)
    out: Bundle = {}
    for module, name, value in traverse(structure):
        out.setdefault(module, {})[name] = fn(module, name, value)
    return to_haiku_dict(out)


def merge(*structures: AnyBundle, check_duplicates: bool = False) -> Bundle:
    """Merges bundles. If several have a value for one place, the last one counts.

    >>> import purestate as ps
    >>> ps.data_structures.merge({"a": {"w": 1}}, {"a": {"b": 2}}, {"a": {"w": 3}})
    {'a': {'w': 3, 'b': 2}}

    Args:
      *structures: `{module: {name: value}}`.
      check_duplicates: whether to raise if two values for one place differ in shape or dtype.

    Returns:
      A bundle.

    Raises:
      BundleError: two values differ, with `check_duplicates`.
      BundleTypeError: a structure is not two mappings deep.
    """
    out: Bundle = {}
    for structure in structures:
        for module, name, value in traverse(structure):
            values = out.setdefault(module, {})
            if check_duplicates and name in values and _kind(values[name]) != _kind(value):
                raise BundleError(
                    f"merge: {name!r} of {module!r} is there twice, as {_outline(values[name])} and"
                    f" as {_outline(value)}. Remove one of them with ps.data_structures.filter, or"
                    " leave out check_duplicates to keep the last."
                )
            values[name] = value
    return to_haiku_dict(out)


def _kind(value: Any) -> Any:
    return (value.shape, value.dtype) if _is_array(value) else None


def _outline(value: Any) -> str:
    return format_array(value) if _is_array(value) else repr(value)


def is_subset(*, subset: AnyBundle, superset: AnyBundle) -> bool:
    """Returns whether one bundle has all names of another one, whatever the values.

    >>> import purestate as ps
    >>> ps.data_structures.is_subset(subset={"a": {"w": 1}}, superset={"a": {"w": 2, "b": 3}})
    True

    Args:
      subset: `{module: {name: value}}`.
      superset: likewise.

    Returns:
      Whether every module and name of `subset` is in `superset`.

    Raises:
      BundleTypeError: one of them is not two mappings deep.
    """
    places = {(module, name) for module, name, _ in traverse(superset)}
    return all((module, name) in places for module, name, _ in traverse(subset))


def pop(variables: Mapping[str, Any], name: str) -> tuple[dict[str, Any], Any]:
    """Splits one collection off from variables, which do not change.

    >>> import purestate as ps
    >>> variables = {"params": {"linear": {"w": 1}}, "batch_stats": {"norm": {"mean": 2}}}
    >>> rest, params = ps.data_structures.pop(variables, "params")
    >>> rest, params
    ({'batch_stats': {'norm': {'mean': 2}}}, {'linear': {'w': 1}})

    Args:
      variables: `{collection: bundle}`, or any mapping.
      name: the name of the collection.

    Returns:
      The rest, and the collection. `{name: popped, **rest}` is the inverse.

    Raises:
      BundleError: `variables` has no collection of that name.
      BundleTypeError: `variables` is not a mapping.
    """
    if not isinstance(variables, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BundleTypeError(
            f"`pop` takes {{collection: bundle}} and a name, but got {outline_argument(variables)}."
        )
    is_name = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_name or name not in variables:
        import difflib  # here, since only errors need it

        near = difflib.get_close_matches(str(name), [str(key) for key in variables], n=1)
        there = ", ".join(repr(key) for key in variables) or "none at all"
        raise BundleError(
            f"pop: the variables have no collection {outline_argument(name)}, but"
            f" {there}.{f' Did you mean {near[0]!r}?' if near else ''}"
        )
    return {key: value for key, value in variables.items() if key != name}, variables[name]
