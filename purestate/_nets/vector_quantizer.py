"""Vector quantization: a vector is replaced by the nearest of a learned few."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._core.module import Module
from purestate._core.variables import get_parameter, get_state, set_state
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.initializers import VarianceScaling
from purestate._layers.moving_averages import ExponentialMovingAverage
from purestate._layers.replicas import check_synchronized, over_replicas
from purestate._ops.products import dot_general, embedding_lookup


def _flat(layer: Any, inputs: jax.Array) -> jax.Array:
    """The inputs as `[N, D]`."""
    try:
        shape = inputs.shape
    except AttributeError:
        raise not_an_array(layer, inputs) from None
    if shape[-1:] != (layer.embedding_dim,):
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r} has embedding_dim={layer.embedding_dim},"
            f" so it needs inputs [..., {layer.embedding_dim}]; got shape {shape}."
        )
    return jnp.reshape(inputs, (-1, layer.embedding_dim))


def _squared_distances(vectors: jax.Array, embeddings: jax.Array) -> jax.Array:
    """`|v - e|**2` for vectors `[N, D]` and embeddings `[D, K]`, `[N, K]`.

    It is computed as `|v|**2 - 2 v e + |e|**2`.
    """
    return (
        jnp.sum(jnp.square(vectors), 1, keepdims=True)
        - 2 * dot_general(vectors, embeddings)
        + jnp.sum(jnp.square(embeddings), 0, keepdims=True)
    )


def _rows(embeddings: jax.Array, indices: jax.Array) -> jax.Array:
    """The embeddings `[D, K]` of `indices`; `[..., D]`."""
    return embedding_lookup(jnp.asarray(embeddings).swapaxes(1, 0), indices)


def _perplexity(encodings: jax.Array, axis_name: str | None) -> jax.Array:
    """How many embeddings are in use: the exponential of the entropy of how often each is."""
    frequencies = jnp.mean(encodings, 0)
    if axis_name:
        frequencies = lax.pmean(frequencies, axis_name)
    return jnp.exp(-jnp.sum(frequencies * jnp.log(frequencies + 1e-10)))


class VectorQuantizer(Module):
    """Replaces each vector by the nearest embedding; the embeddings are parameters.

    Gradients pass to the inputs as if nothing was replaced. The loss draws embeddings to inputs,
    and inputs to embeddings. van den Oord et al. 2017, arXiv:1711.00937.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.VectorQuantizer(4, 16, commitment_cost=0.25)(x, True))
    >>> x = jnp.ones([8, 4])
    >>> out = f.apply(f.init(jax.random.key(0), x), None, x)
    >>> out["quantize"].shape, out["encoding_indices"].shape
    ((8, 4), (8,))

    Args:
      embedding_dim: the size of a vector.
      num_embeddings: the number of embeddings.
      commitment_cost: the weight of the part of the loss that draws inputs to embeddings.
      dtype: of the embeddings.
      name: the name of the module.
      cross_replica_axis: the name of an axis (of `jax.shard_map`, `jax.pmap`, `jax.vmap`) over
        which perplexity is taken too.
    """

    lora_at_read = ("embeddings",)  # used in several ways; see `ps.lora`

    def __init__(
        self,
        embedding_dim: int,
        num_embeddings: int,
        commitment_cost: float,
        dtype: Any = jnp.float32,
        name: str | None = None,
        cross_replica_axis: str | None = None,
    ):
        super().__init__(name=name)
        self.embedding_dim = embedding_dim
        self.num_embeddings = num_embeddings
        self.commitment_cost = commitment_cost
        self.cross_replica_axis = cross_replica_axis
        self._dtype = dtype

    @property
    def embeddings(self) -> jax.Array:
        """The embeddings, `[embedding_dim, num_embeddings]`."""
        shape = (self.embedding_dim, self.num_embeddings)
        return get_parameter(
            "embeddings", shape, self._dtype, init=VarianceScaling(distribution="uniform")
        )

    def __call__(self, inputs: jax.Array, is_training: bool) -> dict[str, jax.Array]:
        """Returns the quantized inputs, and what there is to know about them.

        Args:
          inputs: `[..., embedding_dim]`.
          is_training: not used; see `VectorQuantizerEMA`.

        Returns:
          A dict of "quantize", `[..., embedding_dim]`; "loss", a scalar; "perplexity", how many
          embeddings are in use; "encodings", one-hot, `[N, num_embeddings]`; "encoding_indices",
          `[...]`; "distances", squared, `[N, num_embeddings]`.

        Raises:
          LayerError: the last axis is not `embedding_dim`.
        """
        del is_training
        vectors = _flat(self, inputs)
        distances = _squared_distances(vectors, self.embeddings)
        indices = jnp.argmin(distances, 1)
        encodings = jax.nn.one_hot(indices, self.num_embeddings, dtype=distances.dtype)
        indices = jnp.reshape(indices, inputs.shape[:-1])
        quantized = self.quantize(indices)
        commitment = jnp.mean(jnp.square(lax.stop_gradient(quantized) - inputs))
        loss = (
            jnp.mean(jnp.square(quantized - lax.stop_gradient(inputs)))
            + self.commitment_cost * commitment
        )
        return {
            "quantize": inputs + lax.stop_gradient(quantized - inputs),
            "loss": loss,
            "perplexity": _perplexity(encodings, self.cross_replica_axis),
            "encodings": encodings,
            "encoding_indices": indices,
            "distances": distances,
        }

    def quantize(self, encoding_indices: jax.Array) -> jax.Array:
        """Returns the embeddings of `encoding_indices`.

        Args:
          encoding_indices: integers of any shape.

        Returns:
          `[*encoding_indices.shape, embedding_dim]`.
        """
        return _rows(self.embeddings, encoding_indices)


class VectorQuantizerEMA(Module):
    """Replaces each vector by the nearest embedding, a moving average of the vectors it replaces.

    The embeddings are state, and not trained by gradients. van den Oord et al. 2017,
    arXiv:1711.00937, appendix A.1.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return ps.nets.VectorQuantizerEMA(4, 16, commitment_cost=0.25, decay=0.99)(x, True)
    >>> f = ps.transform_with_state(f)
    >>> x = jnp.ones([8, 4])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> out, state = f.apply(params, state, None, x)
    >>> params, out["quantize"].shape
    ({}, (8, 4))

    Args:
      embedding_dim: the size of a vector.
      num_embeddings: the number of embeddings.
      commitment_cost: the weight of the loss, which draws inputs to embeddings.
      decay: how much of the old averages is kept in a step.
      epsilon: added to how many vectors each embedding replaces, so that it is never zero.
      dtype: of the embeddings.
      cross_replica_axis: the name of an axis (of `jax.shard_map`, `jax.pmap`, `jax.vmap`) over
        which averages and perplexity are taken too.
      name: the name of the module.
      stats_at_init: whether `init` makes the moving averages with `is_training=False` too. By
        default they start with the first call that trains, as in dm-haiku.

    Raises:
      LayerError: `decay` is not between 0 and 1.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_embeddings: int,
        commitment_cost: float,
        decay: Any,
        epsilon: float = 1e-5,
        dtype: Any = jnp.float32,
        cross_replica_axis: str | None = None,
        name: str | None = None,
        *,
        stats_at_init: bool = False,
    ):
        super().__init__(name=name)
        if stats_at_init.__class__ is not bool:
            check_bool(self, "stats_at_init", stats_at_init)
        self.stats_at_init = stats_at_init
        if not 0 <= decay <= 1:
            raise LayerError(f"VectorQuantizerEMA: decay has to be between 0 and 1, got {decay}.")
        self.embedding_dim = embedding_dim
        self.num_embeddings = num_embeddings
        self.decay = decay
        self.commitment_cost = commitment_cost
        self.epsilon = epsilon
        self.cross_replica_axis = cross_replica_axis
        self._dtype = dtype
        self._ema_cluster_size = ExponentialMovingAverage(decay, name="ema_cluster_size")
        self._ema_dw = ExponentialMovingAverage(decay, name="ema_dw")

    @property
    def embeddings(self) -> jax.Array:
        """The embeddings, `[embedding_dim, num_embeddings]`."""
        shape = (self.embedding_dim, self.num_embeddings)
        return get_state(
            "embeddings", shape, self._dtype, init=VarianceScaling(distribution="uniform")
        )

    @property
    def ema_cluster_size(self) -> ExponentialMovingAverage:
        """The average of how many vectors each embedding replaces, `[num_embeddings]`."""
        shape = [self.num_embeddings]
        if self.stats_at_init:
            self._ema_cluster_size._start(shape, self._dtype, jnp.zeros)
        else:
            self._ema_cluster_size.initialize(shape, self._dtype)
        return self._ema_cluster_size

    @property
    def ema_dw(self) -> ExponentialMovingAverage:
        """The average of the sum of the vectors that each embedding replaces.

        Its shape is `[embedding_dim, num_embeddings]`.
        """
        shape = [self.embedding_dim, self.num_embeddings]
        if self.stats_at_init:
            self._ema_dw._start(shape, self._dtype, jnp.zeros)
        else:
            self._ema_dw.initialize(shape, self._dtype)
        return self._ema_dw

    def __call__(self, inputs: jax.Array, is_training: bool) -> dict[str, jax.Array]:
        """Returns the quantized inputs, and what there is to know about them.

        Args:
          inputs: `[..., embedding_dim]`.
          is_training: whether to update the embeddings; the results are of those before.

        Returns:
          See `VectorQuantizer`.

        Raises:
          LayerError: the last axis is not `embedding_dim`.
        """
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        vectors = _flat(self, inputs)
        distances = _squared_distances(vectors, self.embeddings)
        indices = jnp.argmin(distances, 1)
        encodings = jax.nn.one_hot(indices, self.num_embeddings, dtype=distances.dtype)
        indices = jnp.reshape(indices, inputs.shape[:-1])
        quantized = self.quantize(indices)
        commitment = jnp.mean(jnp.square(lax.stop_gradient(quantized) - inputs))
        if self.stats_at_init:
            _ = self.ema_cluster_size, self.ema_dw  # which makes them
        if is_training:
            set_state("embeddings", self._updated_embeddings(vectors, encodings))
        return {
            "quantize": inputs + lax.stop_gradient(quantized - inputs),
            "loss": self.commitment_cost * commitment,
            "perplexity": _perplexity(encodings, self.cross_replica_axis),
            "encodings": encodings,
            "encoding_indices": indices,
            "distances": distances,
        }

    def _updated_embeddings(self, vectors: jax.Array, encodings: jax.Array) -> jax.Array:
        """The average of the vectors that each embedding replaces."""
        sizes = jnp.sum(encodings, axis=0)
        sums = dot_general(vectors.T, encodings)
        if self.cross_replica_axis:
            sizes, sums = over_replicas(
                lax.psum, self.cross_replica_axis, self.module_name, sizes, sums
            )
        else:
            check_synchronized(self._ema_cluster_size, self._ema_dw)
        sizes = self.ema_cluster_size(sizes)
        sums = self.ema_dw(sums)
        total = jnp.sum(sizes)
        # Laplace smoothing, which keeps the total.
        sizes = (sizes + self.epsilon) / (total + self.num_embeddings * self.epsilon) * total
        return sums / jnp.reshape(sizes, (1, -1))

    def quantize(self, encoding_indices: jax.Array) -> jax.Array:
        """Returns the embeddings of `encoding_indices`.

        Args:
          encoding_indices: integers of any shape.

        Returns:
          `[*encoding_indices.shape, embedding_dim]`.
        """
        return _rows(self.embeddings, encoding_indices)
