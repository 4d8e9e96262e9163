"""Puts the arrays of a file on devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from purestate._checkpoint.encoding import jax_can_hold, to_jax
from purestate._checkpoint.errors import CheckpointError
from purestate._checkpoint.names import keys_of
from purestate._checkpoint.shards import ShardedFile
from purestate._checkpoint.tensor_file import TensorFile
from purestate._core.errors import kind_of
from purestate._editing.differences import shape_of
from purestate._editing.paths import key_string, near

ShardingOf = Callable[[tuple[str, ...]], Any]


def sharding_of(shardings: Any) -> ShardingOf:
    """Returns a function from the keys of a variable to its sharding, or None.

    A sharding in the tree counts for everything below its place.
    """
    found = {
        tuple(key_string(key) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(shardings)
    }
    for keys, leaf in found.items():
        if not isinstance(leaf, jax.sharding.Sharding):
            where = f" at {'/'.join(keys)!r}" if keys else ""
            raise CheckpointError(
                "`shardings` must be a jax.sharding.Sharding, or a tree of them, but has"
                f" {kind_of(leaf)}{where}."
            )

    def look_up(keys: tuple[str, ...]) -> Any:
        heads = [keys[:length] for length in range(len(keys), -1, -1)]
        return next((found[head] for head in heads if head in found), None)

    return look_up


def check_shardings(shardings: Any, all_keys: list[tuple[str, ...]]) -> None:
    """Raises if a sharding in the tree is for nothing, as one with a misspelled name is."""
    for path, _ in jax.tree_util.tree_leaves_with_path(shardings):
        head = tuple(key_string(key) for key in path)
        if not any(keys[: len(head)] == head for keys in all_keys):
            names = ["/".join(keys) for keys in all_keys]
            raise CheckpointError(
                "`shardings` has a sharding for"
                f" {'/'.join(head)!r}, which does not exist.{near('/'.join(head), names)}"
            )


def read_onto(file: TensorFile | ShardedFile, name: str, sharding: Any, leaf: Any = None) -> Any:
    """Reads an array onto the devices of a sharding; only the slices that this process needs.

    The checksum is for a whole array. So it is checked if this process needs all of the array.

    Args:
      file: the file.
      name: the name of the array.
      sharding: of its devices; None for the default device.
      leaf: what the array is for. Only the part of the array that fits into it is read.
    """
    if sharding is None:
        return to_jax(_resized(name, file.read(name), leaf))
    x = _resized(name, file.read(name, check=sharding.is_fully_addressable), leaf)
    if not isinstance(x, jax.Array) and not jax_can_hold(x.dtype):
        raise CheckpointError(
            f"{'/'.join(keys_of(name))!r} has dtype {x.dtype}, which JAX cannot put on devices. For"
            " 64 bits, set jax_enable_x64."
        )
    _check_shape(name, x.shape, sharding)
    if isinstance(x, jax.Array):
        return jax.device_put(x, sharding)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.array(x[index]))


def _check_shape(name: str, shape: tuple[int, ...], sharding: Any) -> None:
    axes = len(sharding.spec) if isinstance(sharding, jax.sharding.NamedSharding) else 0
    reason = f"it is for at least {axes} axes" if axes > len(shape) else None
    try:
        if reason is None:
            sharding.shard_shape(shape)
    except ValueError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
    if reason is not None:
        raise CheckpointError(
            f"{'/'.join(keys_of(name))!r} has shape {shape}, and its sharding does not fit:"
            f" {reason}."
        )


def _resized(name: str, x: Any, leaf: Any) -> Any:
    """Returns an array in the shape of a leaf; what the array does not have is that of the leaf."""
    shape = x.shape if leaf is None else shape_of(leaf)
    if x.shape == shape:
        return x
    both = tuple(slice(min(sizes)) for sizes in zip(x.shape, shape, strict=True))
    if all(here >= there for here, there in zip(x.shape, shape, strict=True)):
        return x[both]
    if leaf is None or not hasattr(leaf, "__array__"):
        raise CheckpointError(
            f"{'/'.join(keys_of(name))!r} has shape {x.shape} in the file and {shape} in the"
            " model, which has no values for the rest. Pass params from `init` as `into`, not their"
            " shapes."
        )
    if isinstance(x, jax.Array):  # random keys
        return leaf.at[both].set(x[both])
    whole = np.array(leaf)
    whole[both] = x[both]
    return whole
