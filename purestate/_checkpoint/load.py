"""`load_safetensors` and `read_metadata`."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, overload

import jax

from purestate._checkpoint.atomic import as_path
from purestate._checkpoint.errors import CheckpointError
from purestate._checkpoint.fitting import LoadReport, Selects, Variable, fit, mismatch_error
from purestate._checkpoint.names import from_flat, is_empty, keys_of
from purestate._checkpoint.placing import (
    ArrayFile,
    ShardingOf,
    check_shardings,
    read_onto,
    sharding_of,
)
from purestate._checkpoint.renaming import renamed
from purestate._checkpoint.shards import open_tensors
from purestate._core.errors import kind_of
from purestate._editing.paths import key_string, near
from purestate._editing.predicates import glob

Only = str | Callable[[str, Any], Any] | None


@overload
def load_safetensors(
    path: str | os.PathLike[str],
    *,
    into: Any = None,
    strict: Literal[True] = True,
    rename: Mapping[str, str] | None = None,
    only: Only = None,
    resize: Only = None,
    shardings: Any = None,
) -> Any: ...
@overload
def load_safetensors(
    path: str | os.PathLike[str],
    *,
    into: Any,
    strict: Literal[False],
    rename: Mapping[str, str] | None = None,
    only: Only = None,
    resize: Only = None,
    shardings: Any = None,
) -> tuple[Any, LoadReport]: ...
def load_safetensors(
    path: str | os.PathLike[str],
    *,
    into: Any = None,
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    only: Only = None,
    resize: Only = None,
    shardings: Any = None,
) -> Any:
    """Loads a safetensors file.

    >>> import os, tempfile, jax.numpy as jnp, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "params.safetensors")
    >>> ps.checkpoint.save_safetensors(path, {"linear": {"w": jnp.ones([2])}})
    >>> ps.checkpoint.load_safetensors(path)
    {'linear': {'w': Array([1., 1.], dtype=float32)}}
    >>> params = {"head": {"w": jnp.zeros([2])}}
    >>> ps.checkpoint.load_safetensors(path, into=params, rename={"linear": "head"})
    {'head': {'w': Array([1., 1.], dtype=float32)}}

    Args:
      path: the file, from purestate or from any other library; the index of several files; or a
        folder with `model.safetensors` or its index.
      into: the model: a tree of arrays, of `jax.ShapeDtypeStruct` as `jax.eval_shape` of `init`
        returns it, or of `ps.Spec`. The result has its structure, and names, shapes and dtypes are
        compared with it. Without it, the result is the tree that was saved.
      strict: whether any difference from `into` is an error. If False, a variable that does not fit
        keeps the leaf of `into`, and a report says which ones these are.
      rename: `{pattern: pattern}` from names in the file to names in `into`. Names have slashes
        between their keys. Wildcards are those of `ps.surgery.glob`, and the text that the first
        one matches replaces the first one in the new name, and so on. A name without wildcards
        stands for a variable, or for a module with all in it. The first pattern that fits counts.
      only: `only(name, leaf)` or a glob, such as `"encoder/**"`: which variables to load, by their
        names after `rename`. All other leaves of `into` stay.
      resize: `resize(name, leaf)` or a glob, such as `"embed/*"`: which variables may have another
        shape in the file, with as many axes. The part that both have is loaded, from index 0 on,
        and the rest is that of `into`.
      shardings: a `jax.sharding.Sharding`, or a tree of them. A sharding in the tree counts for
        everything below its place. If the devices belong to several processes, each process reads
        only the slices that its devices need, and checks no checksum, which is for a whole array.

    Returns:
      The tree, with arrays of JAX. An array that JAX cannot hold, such as float64 without
      `jax_enable_x64`, is one of NumPy. With `strict=False`, the tree and a `LoadReport`.

    Raises:
      CheckpointMismatchError: the file and `into` differ.
      CheckpointFileError: the file is damaged, or cannot be read.
      CheckpointNotFoundError: the file does not exist.
      CheckpointError: a pattern or a sharding is for nothing, or does not fit.
      MissingPackageError: the package safetensors is not installed.
    """
    file = open_tensors(as_path(path))
    return load_tree(file, "load_safetensors", into, strict, rename, only, resize, shardings)


def load_tree(
    file: ArrayFile,
    called: str,
    into: Any,
    strict: bool,
    rename: Mapping[str, str] | None,
    only: Only,
    resize: Only,
    shardings: Any,
) -> Any:
    """Loads from a file of any format; `called` is what the user called. See `load_safetensors`."""
    needs = {"rename": rename is not None, "resize": resize is not None, "strict=False": not strict}
    given = next((name for name, is_given in needs.items() if is_given), None)
    if into is None and given:
        raise CheckpointError(
            f"{called} takes `{given}` only together with `into`, the model to compare the"
            " file with. Pass params, or what jax.eval_shape(init, ...) returns."
        )
    selects = _selector("only", only)
    placed = sharding_of(shardings)
    if into is None:
        return _load_all(file, called, selects, only, shardings, placed)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(into)
    all_keys = [tuple(key_string(key) for key in place) for place, _ in leaves]
    check_shardings(shardings, all_keys)
    variables = _variables(file, rename)
    resizes = (lambda name, look_up: False) if resize is None else _selector("resize", resize)
    found, report = fit(into, variables, file.outline, selects, resizes)
    if strict and report:
        raise mismatch_error(str(file.path), report)
    if not found and leaves and only is not None and not report:
        raise _nothing(called, only, ["/".join(keys) for keys in all_keys])
    tree = treedef.unflatten(
        _like(leaf, read_onto(file, found[i], placed(all_keys[i]), leaf)) if i in found else leaf
        for i, (_, leaf) in enumerate(leaves)
    )
    return tree if strict else (tree, report)


def _like(leaf: Any, x: Any) -> Any:
    """Returns a number of Python if the model has one of the same kind there."""
    if isinstance(leaf, (bool, int, float, complex)):
        number = x.item()
        return number if type(number) is type(leaf) else x
    return x


def _variables(file: ArrayFile, rename: Mapping[str, str] | None) -> list[Variable]:
    keys = {name: keys_of(name) for name in file.names if not is_empty(name)}
    new_names = renamed(dict.fromkeys("/".join(each) for each in keys.values()), rename)
    return [Variable(name, each, new_names["/".join(each)]) for name, each in keys.items()]


def _load_all(
    file: ArrayFile,
    called: str,
    selects: Selects,
    only: Only,
    shardings: Any,
    placed: ShardingOf,
) -> Any:
    keys = {name: keys_of(name) for name in file.names}
    check_shardings(shardings, [each for name, each in keys.items() if not is_empty(name)])
    chosen = [
        name
        for name, each in keys.items()
        if only is None
        or (not is_empty(name) and selects("/".join(each), partial(file.outline, name)))
    ]
    if only is not None and not chosen:
        raise _nothing(called, only, ["/".join(each) for each in keys.values()])
    return from_flat({name: read_onto(file, name, placed(keys[name])) for name in chosen})


def _selector(argument: str, only: Any) -> Selects:
    if only is None:
        return lambda name, look_up: True
    if not isinstance(only, str) and not callable(only):
        raise CheckpointError(
            f"`{argument}` must be a pattern of names, such as 'encoder/**', or a predicate of"
            f" ps.surgery, but is {kind_of(only)}."
        )
    if isinstance(only, str):
        matches = glob(only)
        return lambda name, look_up: bool(matches(name, None))
    return lambda name, look_up: bool(only(name, look_up()))


def _nothing(called: str, only: Any, names: list[str]) -> CheckpointError:
    pattern = only if isinstance(only, str) else ""
    return CheckpointError(
        f"{called} found nothing that `only={only!r}` holds for.{near(pattern, names)}"
    )


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the texts that a file was saved with.

    >>> import os, tempfile, jax.numpy as jnp, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "params.safetensors")
    >>> ps.checkpoint.save_safetensors(path, {"w": jnp.ones([2])}, metadata={"step": "100"})
    >>> ps.checkpoint.read_metadata(path)
    {'step': '100'}

    Args:
      path: the file.

    Returns:
      A dict of texts.

    Raises:
      CheckpointFileError: the header of the file is damaged, or the file cannot be read.
      CheckpointNotFoundError: the file does not exist.
      MissingPackageError: the package safetensors is not installed.
    """
    return open_tensors(as_path(path)).own_metadata
