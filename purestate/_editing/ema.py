"""`ema`: moving averages of parameters, beside the training and not in the model."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from purestate._editing.errors import BundleError
from purestate._editing.paths import difference


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Average:
    """Moving averages of a tree; see `ema`. A pytree, to be given to and returned from `jax.jit`.

    Attributes:
      hidden: the averages, in float32 at least.
      weight: how much of the start at zero is left in them; 0 where they began at the parameters.
      dtypes: of the parameters.
    """

    hidden: Any
    weight: Any
    dtypes: tuple[Any, ...] = dataclasses.field(metadata={"static": True})

    def update(self, params: Any, decay: Any = 0.999) -> "Average":
        """Returns the averages with new parameters taken in: `decay * average + (1 - decay) * params`.

        Args:
          params: of the same structure as before.
          decay: how much of the averages is kept; it may change from step to step, and be traced.

        Returns:
          A new `Average`.

        Raises:
          BundleError: the structure is another.
        """
        where = difference(self.hidden, params, ("the averages", "params"))
        if where is not None:
            raise BundleError(
                f"ema: the params differ in structure from those averaged so far: {where}."
            )

        def average(hidden: jax.Array, param: Any) -> jax.Array:
            param = jnp.asarray(param, hidden.dtype)
            if not jnp.issubdtype(hidden.dtype, jnp.inexact):
                return param
            return hidden + (1 - jnp.asarray(decay, hidden.dtype)) * (
                param - hidden
            )  # stays where they are equal

        return dataclasses.replace(
            self,
            hidden=jax.tree.map(average, self.hidden, params),
            weight=self.weight * jnp.asarray(decay, self.weight.dtype),
        )

    @property
    def params(self) -> Any:
        """The averages, in the dtypes of the parameters."""
        leaves, treedef = jax.tree.flatten(self.hidden)
        # Before the first update of averages that began at zero, there is nothing to make up for.
        scale = jnp.where(self.weight < 1, 1 - self.weight, 1)
        return treedef.unflatten([
            (leaf / scale.astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf).astype(dtype)
            for leaf, dtype in zip(leaves, self.dtypes, strict=True)
        ])  # fmt: skip


def ema(params: Any, *, zero_debias: bool = False) -> Average:
    """Begins exponential moving averages of parameters.

    >>> import jax.numpy as jnp, purestate as ps
    >>> average = ps.ema({"linear": {"w": jnp.array([0.0])}})
    >>> for value in (1.0, 2.0):  # in training: after each step
    ...     average = average.update({"linear": {"w": jnp.array([value])}}, decay=0.5)
    >>> average.params["linear"]["w"].tolist()
    [1.25]

    Averages of a decay near 1 need more digits than bfloat16 has, so they are kept in float32 at
    least. Integers are not averaged: the last ones count. `ExponentialMovingAverage` and
    `EMAParamsTree` do the same as modules, in the state.

    Args:
      params: any pytree of arrays, to begin at.
      zero_debias: whether to begin at zero instead, and to make up for that (Kingma and Ba 2015,
        arXiv:1412.6980, section 3), so that the first values do not linger.

    Returns:
      An `Average`, with `update(params, decay)`, which returns a new one, and `params`.
    """

    def begin(param: Any) -> jax.Array:
        dtype = jnp.result_type(param)
        if not jnp.issubdtype(dtype, jnp.inexact):
            return jnp.asarray(param)
        hidden = jnp.asarray(param, jnp.promote_types(dtype, jnp.float32))
        return jnp.zeros_like(hidden) if zero_debias else hidden

    dtypes = tuple(jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return Average(jax.tree.map(begin, params), jnp.float32(1 if zero_debias else 0), dtypes)
