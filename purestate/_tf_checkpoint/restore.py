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

    Without `attributes`, a variable is found by its full name in TensorFlow, its shape, and the
    object that holds it. Names repeat: two Linears of one module both have the variable `linear/w`,
    and purestate numbers them in the order in which they were made. A checkpoint does not say that
    order: lists and attributes may be set in another one. So two modules whose variables have equal
    names and shapes are matched with a warning, in the order of the list that holds them, or of the
    attributes of the module that made them. If they have neither, they are an error. `attributes`
    is exact.

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
      CheckpointError: the root does not exist, or nothing says which of two variables is which.
      UnverifiedWarning: as a warning, if only the order of the attributes says it.
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
