"""Embeddings: a vector for each of a number of ids."""

import enum
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer, get_parameter
from purestate._layers.errors import LayerError, not_an_array
from purestate._layers.initializers import TruncatedNormal
from purestate._ops.products import dot_general, embedding_lookup


class EmbedLookupStyle(enum.Enum):
    """How `Embed` finds the vectors.

    >>> import purestate as ps
    >>> ps.EmbedLookupStyle.ONE_HOT.name
    'ONE_HOT'

    Attributes:
      ARRAY_INDEX: by indexing, which is best on most devices.
      ONE_HOT: by multiplying one-hot vectors with the matrix.
    """

    ARRAY_INDEX = 1
    ONE_HOT = 2


class LookupStyleError(LayerError, AttributeError):
    """There is no such style to look up embeddings."""


class Embed(Module):
    """Gives each id a vector.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda ids: ps.Embed(vocab_size=100, embed_dim=8)(ids))
    >>> ids = jnp.array([[1, 2, 3]])
    >>> f.apply(f.init(jax.random.key(0), ids), None, ids).shape
    (1, 3, 8)

    Args:
      vocab_size: the number of ids; from 0 on.
      embed_dim: the size of a vector.
      embedding_matrix: the first value of the vectors, `[vocab_size, embed_dim]`; stands in for
        both sizes.
      w_init: the initializer of the vectors; None for a truncated normal of stddev 1.
      lookup_style: an `EmbedLookupStyle` or its name.
      name: the name of the module.
      precision: of the multiplication, with ONE_HOT; see `jax.lax.dot_general`.
      param_dtype: the dtype of the vectors; None for float32, or that of the matrix.

    Raises:
      LayerError: the sizes are not given, or contradict each other.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        embed_dim: int | None = None,
        embedding_matrix: ArrayLike | None = None,
        w_init: Initializer | None = None,
        lookup_style: str | EmbedLookupStyle = "ARRAY_INDEX",
        name: str | None = None,
        precision: jax.lax.PrecisionLike = jax.lax.Precision.HIGHEST,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.param_dtype = param_dtype
        if embedding_matrix is None:
            if not vocab_size or not embed_dim:
                raise LayerError(
                    "Embed needs both vocab_size and embed_dim, or an embedding_matrix."
                )
        else:
            shape = np.shape(embedding_matrix)
            if len(shape) != 2 or shape != (vocab_size or shape[0], embed_dim or shape[1]):
                raise LayerError(
                    f"Embed: the embedding_matrix has shape {shape}, but vocab_size={vocab_size}"
                    f" and embed_dim={embed_dim} are given; it has to be [vocab_size, embed_dim],"
                    " and they can be left out."
                )
            vocab_size, embed_dim = shape
            w_init = lambda shape, dtype: jnp.asarray(embedding_matrix, param_dtype)  # noqa: E731
        self.vocab_size = vocab_size
        self.embed_dim = embed_dim
        self.lookup_style = lookup_style
        self.precision = precision
        self.w_init = w_init or TruncatedNormal()

    @property
    def embeddings(self) -> jax.Array:
        """All vectors, `[vocab_size, embed_dim]`."""
        return get_parameter(
            "embeddings",
            (self.vocab_size, self.embed_dim),  # pyright: ignore[reportArgumentType]
            self.param_dtype,
            self.w_init,
        )

    def __call__(
        self,
        ids: "ArrayLike | Sequence[int]",
        lookup_style: str | EmbedLookupStyle | None = None,
        precision: jax.lax.PrecisionLike = None,
        *,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns the vectors of `ids`.

        Args:
          ids: integers of any shape. As everywhere in JAX, one that is too large is taken for the
            largest.
          lookup_style: None for that of the module.
          precision: None for that of the module.
          out_sharding: the sharding of the result on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          `[*ids.shape, embed_dim]`.

        Raises:
          LayerError: `ids` are no integers.
          AttributeError: there is no such style.
        """
        if not isinstance(ids, jax.Array):
            ids = jnp.asarray(ids)
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise LayerError(
                f"Embed {self.module_name!r} needs integers as ids, got {ids.dtype} of shape"
                f" {ids.shape}."
            )
        style = lookup_style or self.lookup_style
        if isinstance(style, str):
            style = getattr(EmbedLookupStyle, style.upper(), style)
        if style is EmbedLookupStyle.ARRAY_INDEX:
            return embedding_lookup(self.embeddings, ids, out_sharding)
        if style is EmbedLookupStyle.ONE_HOT:
            one_hot = jax.nn.one_hot(ids, self.vocab_size)  # pyright: ignore[reportArgumentType]
            precision = self.precision if precision is None else precision
            return dot_general(one_hot, self.embeddings, None, precision, None, out_sharding)
        raise LookupStyleError(
            f"Embed {self.module_name!r} has no lookup style {style!r}; there are "
            f"{' and '.join(repr(style.name) for style in EmbedLookupStyle)}."
        )

    def attend(
        self,
        query: jax.Array,
        precision: jax.lax.PrecisionLike = None,
        *,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns the products of `query` with all vectors.

        These are the logits of a language model whose two ends share the vectors. Press and Wolf
        2017, arXiv:1608.05859.

        Args:
          query: `[..., embed_dim]`.
          precision: None for that of the module.
          out_sharding: the sharding of the product on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          `[..., vocab_size]`.

        Raises:
          LayerError: the last axis of `query` has another size.
        """
        try:
            shape = query.shape
        except AttributeError:
            raise not_an_array(self, query, "its query") from None
        if shape[-1:] != (self.embed_dim,):
            raise LayerError(
                f"Embed {self.module_name!r}: attend needs a query [..., {self.embed_dim}], as long"
                f" as the vectors, got shape {shape}."
            )
        return dot_general(
            query,
            self.embeddings,
            (((len(shape) - 1,), (1,)), ((), ())),
            self.precision if precision is None else precision,
            None,
            out_sharding,
        )
