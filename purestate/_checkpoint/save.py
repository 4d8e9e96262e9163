"""`save_safetensors`."""

import os
from collections.abc import Mapping
from typing import Any

from purestate._checkpoint.atomic import as_path
from purestate._checkpoint.encoding import Encoded, encode
from purestate._checkpoint.errors import CheckpointError
from purestate._checkpoint.names import to_flat
from purestate._checkpoint.shards import bytes_of, save_shards
from purestate._checkpoint.tensor_file import OURS
from purestate._core.errors import kind_of


def save_safetensors(
    path: str | os.PathLike[str],
    tree: Any,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str | None = None,
) -> None:
    """Saves params, state, or both in a safetensors file.

    >>> import os, tempfile, jax.numpy as jnp, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> params = {"linear": {"w": jnp.ones([3, 2]), "b": jnp.zeros([2])}}
    >>> ps.checkpoint.save_safetensors(path, {"params": params, "state": {}})
    >>> ps.checkpoint.load_safetensors(path)["params"]["linear"]["w"].shape
    (3, 2)

    The file replaces an older one in one step. If the program is killed before, the old file stays.

    Args:
      path: the file.
      tree: nested dicts of arrays: params, state, a dict of collections, or what `init` returned.
        Tuples, lists and None may be in it. A NamedTuple is saved as a dict of its fields.
      metadata: texts to keep in the file; see `read_metadata`.
      max_shard_size: the most bytes of arrays in one file, as a number or a text such as "5GB" or
        "500MiB". A larger tree is saved as Hugging Face does it: in files such as
        `model-00001-of-00003.safetensors`, with an index, `model.safetensors.index.json`, in which
        `path` is the name of the single file. Without it, there is one file.

    Raises:
      CheckpointError: a key or a leaf cannot be saved.
      CheckpointFileError: the file cannot be written.
      MissingPackageError: the package safetensors is not installed.
    """
    target = as_path(path)
    most = None if max_shard_size is None else bytes_of(max_shard_size)
    save_shards(target, encode_tree(tree), _checked_metadata(metadata), most)


def encode_tree(tree: Any) -> dict[str, Encoded]:
    """Returns all arrays of a tree with their names in the file."""
    encoded = {name: encode(name, leaf) for name, leaf in to_flat(tree).items()}
    for name in encoded:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise CheckpointError(
                f"The name {name!r} cannot be saved, since it is not valid Unicode."
            ) from None
    return encoded


def _checked_metadata(metadata: Any) -> Mapping[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise CheckpointError(
            f"`metadata` must be a dict of texts, such as {{'step': '100'}}, but is"
            f" {kind_of(metadata)}."
        )
    for key, text in metadata.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise CheckpointError(
                f"`metadata` is a dict of texts, but has {key!r}: {kind_of(text)}. Write it as"
                " text, for instance with str or json.dumps."
            )
        if key.startswith(OURS):
            raise CheckpointError(
                f"The key {key!r} of `metadata` is one that purestate itself uses. Use another one."
            )
    return metadata
