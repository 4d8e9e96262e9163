"""Reads all variables of a checkpoint."""

import os

import numpy as np

from purestate._tf_checkpoint.attribute_paths import attribute_path
from purestate._tf_checkpoint.bundle import open_bundle
from purestate._tf_checkpoint.dtypes import STRING


def load(prefix: str | os.PathLike[str], *, strings: bool = False) -> dict[str, np.ndarray]:
    """Reads the variables of a checkpoint of `tf.train.Checkpoint`, without TensorFlow.

    >>> import numpy as np, os, tempfile, purestate.sonnet.checkpoint as checkpoint
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> params = {"linear": {"w": np.ones([2, 3], np.float32)}}
    >>> checkpoint.save(prefix, params, {}, attributes={"w": ("linear", "w")})
    >>> {path: array.shape for path, array in checkpoint.load(prefix).items()}
    {'model/w': (2, 3), 'save_counter': ()}

    Args:
      prefix: what `tf.train.Checkpoint.save` or `write` returned, such as `"checkpoints/ckpt-1"`;
        or a folder, for its latest checkpoint.
      strings: whether to read tensors of texts too, as arrays of `bytes`. The object graph, which
        is such a tensor, has the key `"_CHECKPOINTABLE_OBJECT_GRAPH"`.

    Returns:
      `{attribute path: array}`, in the order of the file. An attribute path has the names of the
      attributes from the `tf.train.Checkpoint` on, with slashes between them, such as
      `"model/_layers/0/w"`. A slash or a backslash in a key of a dict has a backslash before it.

    Raises:
      CheckpointFileError: the file is damaged, or cannot be read.
      CheckpointNotFoundError: the file does not exist.
    """
    bundle = open_bundle(prefix)
    return {
        attribute_path(key): bundle.read(key)
        for key, entry in bundle.entries.items()
        if strings or entry.dtype != STRING
    }
