"""Reads a checkpoint into params and state."""

import os
from typing import Any

from purestate._tf_checkpoint.bundle import open_bundle
from purestate._tf_checkpoint.matching import Attributes, match
from purestate._tf_checkpoint.object_graph import read_graph
from purestate._tf_checkpoint.targets import Bundles, Targets

Values = dict[str, dict[str, Any]]


def restore(
    prefix: str | os.PathLike[str],
    params: Bundles,
    state: Bundles,
    root: str = "model",
    *,
    attributes: Attributes | None = None,
) -> tuple[Values, Values]:
    """Reads a checkpoint of a Sonnet model into params and state of the same model.

    >>> import os, tempfile, jax.numpy as jnp, purestate.sonnet.checkpoint as checkpoint
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> attributes = {"layers/0/w": ("linear", "w"), "layers/1/w": ("linear_1", "w")}
    >>> params = {"linear": {"w": jnp.ones(2)}, "linear_1": {"w": 2 * jnp.ones(2)}}
    >>> checkpoint.save(prefix, params, {}, attributes=attributes)
    >>> zeros = {"linear": {"w": jnp.zeros(2)}, "linear_1": {"w": jnp.zeros(2)}}
    >>> checkpoint.restore(prefix, zeros, {})[0]["linear_1"]["w"]
    Array([2., 2.], dtype=float32)

    Without `attributes`, the names of the variables in purestate come from the object graph of the
    checkpoint. The names in Sonnet are not enough: two Linears of one module both have the variable
    `linear/w`. Equal modules are taken to be made in the order of the list that holds
    them, or of the attributes of the module that made them. If neither says it, this is an error.
    If the items of a list were made in another order, only `attributes` is right.

    Args:
      prefix: what `tf.train.Checkpoint.save` or `write` returned; or a folder, for its latest
        checkpoint.
      params: what `init` returned: `{module path: {name: array}}`. A `jax.ShapeDtypeStruct` may be
        in place of an array.
      state: the same.
      root: what the model was called in `tf.train.Checkpoint(model=net)`. `"model/torso"` is an
        attribute of it, and `""` is all there is.
      attributes: `{path of attributes: (module path, name)}`, such as
        `{"_layers/0/w": ("linear", "w")}`, for all variables. If given, nothing else counts.

    Returns:
      Params and state with the values of the checkpoint. Their arrays are of JAX, or of NumPy if
      those given are. An int64 of TensorFlow becomes an int32 if JAX has no int64.

    Raises:
      CheckpointMismatchError: model and checkpoint differ in a variable, a shape or a dtype. The
        message has all problems. Variables outside the root do not count.
      CheckpointError: the root does not exist, or the order of equal modules is unknown.
      CheckpointFileError: the file is damaged, or cannot be read.
      CheckpointNotFoundError: the file does not exist.
    """
    bundle = open_bundle(prefix)
    graph = read_graph(bundle)
    found = match(bundle, graph, root, Targets(params, state), attributes)
    values: tuple[Values, Values] = (
        {module: dict(variables) for module, variables in params.items()},
        {module: dict(variables) for module, variables in state.items()},
    )
    for at, target in found.items():
        key = graph.nodes[at].key
        assert key is not None
        into = values[0 if target.is_param else 1]
        into[target.module][target.name] = target.fitted(bundle.read(key))
    return values
