"""`Dropout`, the module that draws its own random keys."""

from collections.abc import Sequence

import jax

from purestate._core.module import Module
from purestate._core.rng import next_rng_key
from purestate._layers.dropout import dropout
from purestate._layers.errors import LayerError, check_bool


class Dropout(Module):
    """`dropout` as a module: it takes its random key from those of `init` or `apply`.

    Srivastava et al. 2014, JMLR 15.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x, is_training: ps.Dropout(0.5)(x, is_training))
    >>> x = jnp.ones([100])
    >>> sorted(set(f.apply({}, jax.random.key(0), x, True).tolist()))
    [0.0, 2.0]
    >>> bool((f.apply({}, None, x, False) == x).all())
    True

    Args:
      rate: the chance for a value to become zero, `0 <= rate < 1`.
      broadcast_dims: axes along which all values share one fate.
      name: the name of the module.

    Raises:
      LayerError: `rate` is outside its range.
    """

    def __init__(
        self, rate: float | jax.Array, broadcast_dims: Sequence[int] = (), name: str | None = None
    ):
        super().__init__(name=name)
        self.rate = rate
        self.broadcast_dims = tuple(broadcast_dims)
        self.never_drops = False
        try:
            if rate < 0 or rate >= 1:
                raise LayerError(
                    f"Dropout {self.module_name!r}: rate is the chance to become zero, at least 0"
                    f" and less than 1, got {rate}."
                )
            self.never_drops = bool(rate == 0)
        except jax.errors.ConcretizationTypeError:
            pass  # a traced rate cannot be looked at

    def __call__(self, x: jax.Array, is_training: bool, rng: jax.Array | None = None) -> jax.Array:
        """Returns `x` with some values set to zero and the others scaled up.

        Without training, this is `x` itself.

        Args:
          x: an array of any shape.
          is_training: whether values are dropped.
          rng: the random key to use; None for `ps.next_rng_key("dropout")`, which is not asked
            where nothing is dropped.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `is_training` is traced, or an axis of `broadcast_dims` is not there.
          MissingRNGError: `init` or `apply` was given no key, and one is needed.
        """
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        if not is_training or self.never_drops:
            return x
        return dropout(
            next_rng_key("dropout") if rng is None else rng, self.rate, x, self.broadcast_dims
        )
