"""`load_safetensors` and `read_metadata`."""

import os
from typing import Any

from purestate._checkpoint.atomic import as_path
from purestate._checkpoint.encoding import to_jax
from purestate._checkpoint.names import from_flat
from purestate._checkpoint.tensor_file import TensorFile


def load_safetensors(path: str | os.PathLike[str]) -> Any:
    """Loads a safetensors file.

    >>> import os, tempfile, jax.numpy as jnp, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "params.safetensors")
    >>> ps.checkpoint.save_safetensors(path, {"linear": {"w": jnp.ones([2])}})
    >>> ps.checkpoint.load_safetensors(path)
    {'linear': {'w': Array([1., 1.], dtype=float32)}}

    Args:
      path: the file, from purestate or from any other library.

    Returns:
      The tree that was saved, with arrays of JAX. An array that JAX cannot hold, such as float64
      without `jax_enable_x64`, is one of NumPy.

    Raises:
      CheckpointFileError: the file is damaged, or cannot be read.
      CheckpointNotFoundError: the file does not exist.
      MissingPackageError: the package safetensors is not installed.
    """
    file = TensorFile(as_path(path))
    return from_flat({name: to_jax(file.read(name)) for name in file.names})


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
    return TensorFile(as_path(path)).own_metadata
