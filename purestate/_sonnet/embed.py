"""`Embed`."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.trace_guard import is_traced
from purestate._ops.products import rows_or_nan
from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable, value_of


class Embed(Module):
    """Looks up a vector for each id.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda ids: snt.Embed(vocab_size=10, embed_dim=4)(ids))
    >>> ids = jnp.array([[1, 2, 3]])
    >>> params, state = f.init(jax.random.key(0), ids)
    >>> f.apply(params, state, None, ids)[0].shape
    (1, 3, 4)

    Args:
      vocab_size: the number of ids.
      embed_dim: the size of a vector; None for `6 * vocab_size ** 0.25`.
      existing_vocab: the initial vectors `[vocab_size, embed_dim]`, in place of the other three.
      densify_gradients: accepted and ignored; gradients of JAX are dense.
      initializer: of the vectors; None for a truncated normal of stddev 1.
      trainable: whether the vectors are a parameter; if not, they are state.
      dtype: the dtype of the vectors.
      name: the name of the module.

    Attributes:
      embeddings: the vectors `[vocab_size, embed_dim]`.

    Raises:
      SonnetValueError: the vocabulary is missing, or given twice.
    """

    embeddings: Variable

    def __init__(
        self,
        vocab_size: int | None = None,
        embed_dim: int | None = None,
        existing_vocab: ArrayLike | None = None,
        densify_gradients: bool = False,
        initializer: Initializer | None = None,
        trainable: bool = True,
        dtype: DTypeLike = jnp.float32,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if existing_vocab is None and vocab_size is None:
            raise SonnetValueError(
                f"Embed {self.module_name!r} was given neither a vocab_size nor an existing_vocab."
                " Give it the number of ids, snt.Embed(vocab_size=1000), or an array"
                " [vocab_size, embed_dim] as existing_vocab."
            )
        if existing_vocab is not None and (vocab_size or embed_dim or initializer):
            raise SonnetValueError(
                f"Embed {self.module_name!r}: existing_vocab has the sizes and values, so leave"
                " vocab_size, embed_dim and initializer out."
            )
        if existing_vocab is not None:
            vectors = jnp.asarray(value_of(existing_vocab), dtype)
            sizes: tuple[int, ...] = vectors.shape
            if len(sizes) != 2:
                raise SonnetValueError(
                    f"Embed {self.module_name!r}: existing_vocab must be [vocab_size, embed_dim];"
                    f" got the shape {list(sizes)}."
                )
            self.embeddings = Variable(vectors, trainable, name="embeddings")
        else:
            assert vocab_size is not None
            sizes = (vocab_size, embed_dim or _default_dim(self, vocab_size))
            self.embeddings = Variable.create(
                "embeddings", sizes, dtype, initializer or TruncatedNormal(), trainable
            )
        self.vocab_size, self.embed_dim = sizes
        self.densify_gradients = densify_gradients

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Looks ids up.

        Args:
          inputs: ids, integers `[...]` from 0 to `vocab_size - 1`. If JAX traces them, the vector
            of any other id is NaN.

        Returns:
          `[..., embed_dim]`.

        Raises:
          SonnetValueError: an id is out of range, or not an integer.
        """
        ids = jnp.asarray(value_of(inputs))
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise SonnetValueError(
                f"Embed {self.module_name!r} takes integers; got {ids.dtype}. Cast them:"
                " ids.astype(jnp.int32)."
            )
        if not is_traced(ids):
            self._check_range(np.asarray(ids))
        # Out of range in either direction is NaN: JAX counts negative indices from the end.
        ids = jnp.where(ids < 0, self.vocab_size, ids)
        return rows_or_nan(as_array(self.embeddings), ids)

    def _check_range(self, ids: np.ndarray) -> None:
        wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
        if wrong.size:
            raise SonnetValueError(
                f"Embed {self.module_name!r} has {self.vocab_size} vectors, for ids 0 to"
                f" {self.vocab_size - 1}; got the id {wrong.flat[0]}. Give it ids in that range,"
                " or make it with a larger vocab_size."
            )


def _default_dim(module: Embed, vocab_size: int) -> int:
    if vocab_size <= 0:
        raise SonnetValueError(
            f"Embed {module.module_name!r}: vocab_size must be positive; got {vocab_size}."
        )
    return round(6.0 * math.sqrt(math.sqrt(vocab_size)))
