"""`ema`: moving averages of parameters, kept beside the training and not in the model."""

import dataclasses
from typing import TYPE_CHECKING, Any, Generic

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.errors import ShapeMismatchError
from purestate._editing.differences import difference, mismatch
from purestate._editing.errors import BundleError

if TYPE_CHECKING:
    # With a default, so that an annotation may leave it out.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # the type of a tree of parameters
else:
    from typing import TypeVar

    T = TypeVar("T")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Average(Generic[T]):
    """Moving averages of a tree; see `ema`. It is a pytree, so `jax.jit` takes and returns it.

    Attributes:
      hidden: the moving averages, in float32 or a wider dtype.
      weight: the remaining weight of the zeros that the average started from; 0 if it started from
        the parameters.
      dtypes: the dtypes of the parameters.
    """

    hidden: Any
    weight: Any
    dtypes: tuple[Any, ...] = dataclasses.field(metadata={"static": True})

    def update(self, params: Any, decay: ArrayLike = 0.999) -> "Average[T]":
        """Returns the average after one more step: `decay * average + (1 - decay) * params`.

        Args:
          params: the parameters, with the structure and shapes of those that `ema` was given.
          decay: the weight of the average so far. It may change from step to step, and may be
            traced.

        Returns:
          A new `Average`.

        Raises:
          BundleError: the params have another structure.
          ShapeMismatchError: they have another shape, or a dtype of another kind.
        """
        where = difference(self.hidden, params, ("the average", "params"))
        if where is not None:
            raise BundleError(
                f"ema: the params differ in structure from those averaged so far: {where}."
            )
        where = mismatch(params, self.hidden, ("params", "the average"))
        if where is not None:
            raise ShapeMismatchError(
                f"ema: the params do not fit the average: {where}. Pass params of the shapes that"
                " `ps.ema(params)` started from, or start a new average with `ps.ema(params)`."
            )

        def average(hidden: jax.Array, param: Any) -> jax.Array:
            param = jnp.asarray(param, hidden.dtype)
            if not jnp.issubdtype(hidden.dtype, jnp.inexact):
                return param
            return hidden + (1 - jnp.asarray(decay, hidden.dtype)) * (
                param - hidden
            )  # exact if both are equal

        return dataclasses.replace(
            self,
            hidden=jax.tree.map(average, self.hidden, params),
            weight=self.weight * jnp.asarray(decay, self.weight.dtype),
        )

    @property
    def params(self) -> T:
        """The moving averages, in the dtypes of the parameters."""
        leaves, treedef = jax.tree.flatten(self.hidden)
        # An average that starts at zero has no value to correct before its first update.
        scale = jnp.where(self.weight < 1, 1 - self.weight, 1)

        def corrected(leaf: jax.Array) -> jax.Array:
            averaged = jnp.issubdtype(leaf.dtype, jnp.inexact)
            return leaf / scale.astype(leaf.dtype) if averaged else leaf

        return treedef.unflatten(
            [corrected(x).astype(dtype) for x, dtype in zip(leaves, self.dtypes, strict=True)]
        )


def ema(params: T, *, zero_debias: bool = False) -> "Average[T]":
    """Starts exponential moving averages of parameters.

    >>> import jax.numpy as jnp, purestate as ps
    >>> average = ps.ema({"linear": {"w": jnp.array([0.0])}})
    >>> for value in (1.0, 2.0):  # in training: after each step
    ...     average = average.update({"linear": {"w": jnp.array([value])}}, decay=0.5)
    >>> average.params["linear"]["w"].tolist()
    [1.25]

    A decay near 1 needs more digits than bfloat16 has, so the average is kept in float32 or a wider
    dtype. Integers are not averaged: their last value is kept. `ExponentialMovingAverage` and
    `EMAParamsTree` are modules that do the same in their state.

    Args:
      params: any pytree of arrays. The average starts from it.
      zero_debias: whether to start from zeros instead, and to correct for them (Kingma and Ba
        2015, arXiv:1412.6980, section 3). Then the initial parameters have no weight.

    Returns:
      An `Average`. Its `update(params, decay)` returns a new one; its `params` are the moving
      averages.
    """

    def begin(param: Any) -> jax.Array:
        dtype = jnp.result_type(param)
        if not jnp.issubdtype(dtype, jnp.inexact):
            return jnp.asarray(param)
        hidden = jnp.asarray(param, jnp.promote_types(dtype, jnp.float32))
        return jnp.zeros_like(hidden) if zero_debias else hidden

    dtypes = tuple(jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return Average(jax.tree.map(begin, params), jnp.float32(1 if zero_debias else 0), dtypes)
