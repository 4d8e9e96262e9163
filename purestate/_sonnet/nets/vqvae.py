"""Vector quantizers."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._layers.errors import check_bool
from purestate._ops.products import dot_general, rows_or_nan
from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import VarianceScaling
from purestate._sonnet.module import Module
from purestate._sonnet.moving_averages import ExponentialMovingAverage
from purestate._sonnet.variable import Variable


def _flat(module: Any, inputs: jax.Array) -> jax.Array:
    size: int = module.embedding_dim
    if inputs.shape[-1:] != (size,):
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} was made with embedding_dim={size}, so"
            f" the last axis of its input must have that size; got the shape {list(inputs.shape)}."
        )
    return inputs.reshape(-1, size)


def _nearest(flat: jax.Array, embeddings: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the squared distances to all vectors, and the index of the nearest one."""
    distances = (
        jnp.sum(flat**2, 1, keepdims=True)
        - dot_general(2 * flat, embeddings)
        + jnp.sum(embeddings**2, 0, keepdims=True)
    )
    return distances, jnp.argmax(-distances, 1)


def _results(
    inputs: jax.Array,
    quantized: jax.Array,
    loss: jax.Array,
    encodings: jax.Array,
    indices: jax.Array,
    distances: jax.Array,
) -> dict[str, Any]:
    average = jnp.mean(encodings, 0)
    return {
        # The gradient passes straight through to the input.
        "quantize": inputs + lax.stop_gradient(quantized - inputs),
        "loss": loss,
        "perplexity": jnp.exp(-jnp.sum(average * jnp.log(average + 1e-10))),
        "encodings": encodings,
        "encoding_indices": indices,
        "distances": distances,
    }


class VectorQuantizer(Module):
    """Replaces each vector by the nearest of some learned ones.

    Van den Oord et al. 2017, arXiv:1711.00937, equations 1 to 3.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     return snt.nets.VectorQuantizer(4, 16, 0.25)(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([2, 3, 4])
    >>> out, _ = f.apply(*f.init(jax.random.key(0), x), None, x)
    >>> out["quantize"].shape, out["encoding_indices"].shape
    ((2, 3, 4), (2, 3))

    Args:
      embedding_dim: the size of a vector.
      num_embeddings: the number of vectors.
      commitment_cost: the weight of the loss that draws inputs to their vectors.
      dtype: the dtype of the vectors.
      name: the name of the module.

    Attributes:
      embeddings: the vectors `[embedding_dim, num_embeddings]`.
    """

    embeddings: Variable

    def __init__(
        self,
        embedding_dim: int,
        num_embeddings: int,
        commitment_cost: float,
        dtype: DTypeLike = jnp.float32,
        name: str = "vector_quantizer",
    ):
        super().__init__(name=name)
        self.embedding_dim = embedding_dim
        self.num_embeddings = num_embeddings
        self.commitment_cost = commitment_cost
        self.embeddings = Variable.create(
            "embeddings",
            (embedding_dim, num_embeddings),
            dtype,
            VarianceScaling(distribution="uniform"),
        )

    def __call__(self, inputs: jax.Array, is_training: bool) -> dict[str, Any]:
        """Quantizes an input.

        Args:
          inputs: `[..., embedding_dim]`.
          is_training: has no effect.

        Returns:
          A dict with "quantize" `[..., embedding_dim]`, "loss", "perplexity", "encodings" `[N,
          num_embeddings]`, "encoding_indices" `[...]` and "distances" `[N, num_embeddings]`.
        """
        del is_training
        inputs = as_array(inputs)
        flat = _flat(self, inputs)
        distances, nearest = _nearest(flat, as_array(self.embeddings))
        encodings = jax.nn.one_hot(nearest, self.num_embeddings, dtype=distances.dtype)
        indices = nearest.reshape(inputs.shape[:-1])
        quantized = self.quantize(indices)
        to_vectors = jnp.mean((lax.stop_gradient(quantized) - inputs) ** 2)
        to_inputs = jnp.mean((quantized - lax.stop_gradient(inputs)) ** 2)
        loss = to_inputs + self.commitment_cost * to_vectors
        return _results(inputs, quantized, loss, encodings, indices, distances)

    def quantize(self, encoding_indices: jax.Array) -> jax.Array:
        """Returns the vectors of some indices.

        Args:
          encoding_indices: integers `[...]`.

        Returns:
          `[..., embedding_dim]`.
        """
        return rows_or_nan(as_array(self.embeddings).T, as_array(encoding_indices))


class VectorQuantizerEMA(Module):
    """A `VectorQuantizer` whose vectors are state: moving averages of its inputs.

    Van den Oord et al. 2017, arXiv:1711.00937, appendix A.1. The gradient does not flow through
    the stored vectors, as in TensorFlow.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     return snt.nets.VectorQuantizerEMA(4, 16, 0.25, decay=0.9)(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([2, 3, 4])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> params, sorted(state)[0], state["vector_quantizer_ema"]["embeddings"].shape
    ({}, 'vector_quantizer_ema', (4, 16))

    Args:
      embedding_dim: the size of a vector.
      num_embeddings: the number of vectors.
      commitment_cost: the weight of the loss.
      decay: how much of the old vectors an update keeps, from 0 to 1.
      epsilon: added to the sizes of the clusters.
      dtype: the dtype of the vectors.
      name: the name of the module.

    Attributes:
      embeddings: the vectors `[embedding_dim, num_embeddings]`.

    Raises:
      SonnetValueError: `decay` is out of range.
    """

    embeddings: Variable

    def __init__(
        self,
        embedding_dim: int,
        num_embeddings: int,
        commitment_cost: float,
        decay: float,
        epsilon: float = 1e-5,
        dtype: DTypeLike = jnp.float32,
        name: str = "vector_quantizer_ema",
    ):
        super().__init__(name=name)
        if not 0 <= decay <= 1:
            raise SonnetValueError(
                f"VectorQuantizerEMA {self.module_name!r}: decay must be from 0 to 1; got {decay}."
            )
        self.embedding_dim = embedding_dim
        self.num_embeddings = num_embeddings
        self.decay = decay
        self.commitment_cost = commitment_cost
        self.epsilon = epsilon
        self.embeddings = Variable.create(
            "embeddings",
            (embedding_dim, num_embeddings),
            dtype,
            VarianceScaling(distribution="uniform"),
            trainable=False,
        )
        self.ema_cluster_size = ExponentialMovingAverage(decay=decay, name="ema_cluster_size")
        self.ema_cluster_size.initialize(jnp.zeros([num_embeddings], dtype))
        self.ema_dw = ExponentialMovingAverage(decay=decay, name="ema_dw")
        self.ema_dw.initialize(as_array(self.embeddings))

    def __call__(self, inputs: jax.Array, is_training: bool) -> dict[str, Any]:
        """Quantizes an input; see `VectorQuantizer.__call__`.

        Args:
          inputs: `[..., embedding_dim]`.
          is_training: whether to update the vectors.

        Returns:
          A dict as of `VectorQuantizer`.
        """
        check_bool(self, "is_training", is_training)
        inputs = as_array(inputs)
        flat = _flat(self, inputs)
        distances, nearest = _nearest(flat, as_array(self.embeddings))
        encodings = jax.nn.one_hot(nearest, self.num_embeddings, dtype=distances.dtype)
        indices = nearest.reshape(inputs.shape[:-1])
        quantized = self.quantize(indices)
        to_vectors = jnp.mean((lax.stop_gradient(quantized) - inputs) ** 2)
        if is_training:
            self._update(flat, encodings)
        loss = self.commitment_cost * to_vectors
        return _results(inputs, quantized, loss, encodings, indices, distances)

    def _update(self, flat: jax.Array, encodings: jax.Array) -> None:
        """Moves each vector to the average of the inputs that it is nearest to."""
        sizes = as_array(self.ema_cluster_size(jnp.sum(encodings, 0)))
        sums = as_array(self.ema_dw(dot_general(flat.T, encodings)))
        total = jnp.sum(sizes)
        sizes = (sizes + self.epsilon) / (total + self.num_embeddings * self.epsilon) * total
        self.embeddings.assign(sums / sizes.reshape(1, -1))

    def quantize(self, encoding_indices: jax.Array) -> jax.Array:
        """Returns the vectors of some indices.

        Args:
          encoding_indices: integers `[...]`.

        Returns:
          `[..., embedding_dim]`.
        """
        return rows_or_nan(as_array(self.embeddings).T, as_array(encoding_indices))
