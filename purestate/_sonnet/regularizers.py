"""Sonnet's regularizers: one number from a list of arrays."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.variable import Variable, value_of


class Regularizer(abc.ABC):
    """The base class of regularizers: a subclass defines `__call__(tensors)`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Largest(snt.regularizers.Regularizer):
    ...     def __call__(self, tensors):
    ...         return max(jnp.max(jnp.abs(t)) for t in tensors)
    >>> float(Largest()([jnp.array([1.0, -2.0])]))
    2.0
    """

    @abc.abstractmethod
    def __call__(self, tensors: Sequence[Any]) -> jax.Array:
        """Returns the loss of a list of arrays or variables, as a scalar."""


class L1(Regularizer):
    """The sum of absolute values, times a scale.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.regularizers.L1(0.5)([jnp.array([1.0, -2.0])]).item()
    1.5

    Args:
      scale: the factor, at least 0.

    Raises:
      SonnetValueError: `scale` is negative, or the call got one array in place of a list.
    """

    def __init__(self, scale: ArrayLike | Variable):
        self.scale = _checked(self, scale)

    def __call__(self, tensors: Sequence[Any]) -> jax.Array:
        return _scaled_sum(self, self.scale, tensors, lambda t: jnp.sum(jnp.abs(t)))

    def __repr__(self) -> str:
        return f"L1(scale={self.scale})"


class L2(Regularizer):
    """The sum of squares, times a scale.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.regularizers.L2(0.5)([jnp.array([1.0, -2.0])]).item()
    2.5

    Args:
      scale: the factor, at least 0.

    Raises:
      SonnetValueError: `scale` is negative, or the call got one array in place of a list.
    """

    def __init__(self, scale: ArrayLike | Variable):
        self.scale = _checked(self, scale)

    def __call__(self, tensors: Sequence[Any]) -> jax.Array:
        return _scaled_sum(self, self.scale, tensors, lambda t: jnp.sum(jnp.square(t)))

    def __repr__(self) -> str:
        return f"L2(scale={self.scale})"


class OffDiagonalOrthogonal(Regularizer):
    """The sum of squares of `w.T @ w` off its diagonal, times a scale.

    All axes of `w` but the last are taken together as one. Brock et al. 2018, arXiv:1809.11096.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> orthogonal = snt.regularizers.OffDiagonalOrthogonal(0.5)
    >>> orthogonal([jnp.array([[1.0, 2.0], [3.0, 4.0]])]).item()
    196.0

    Args:
      scale: the factor, at least 0.

    Raises:
      SonnetValueError: `scale` is negative, an array has less than two axes, or the call got one
        array in place of a list.
    """

    def __init__(self, scale: ArrayLike | Variable):
        self.scale = _checked(self, scale)

    def __call__(self, tensors: Sequence[Any]) -> jax.Array:
        return _scaled_sum(self, self.scale, tensors, _off_diagonal)

    def __repr__(self) -> str:
        return f"OffDiagonalOrthogonal(scale={self.scale})"


def _off_diagonal(t: jax.Array) -> jax.Array:
    if t.ndim < 2:
        raise SonnetValueError(
            "`OffDiagonalOrthogonal` needs arrays with at least two axes, but got one of the shape"
            f" {list(t.shape)}. Leave out biases: [v for v in variables if v.ndim > 1]."
        )
    w = jnp.reshape(t, (-1, t.shape[-1]))
    squares = jnp.square(w.T @ w)
    return jnp.sum(squares) - jnp.trace(squares)


def _scaled_sum(
    regularizer: Regularizer,
    scale: Any,
    tensors: Sequence[Any],
    loss: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    if hasattr(tensors, "shape"):
        raise SonnetValueError(
            f"`{type(regularizer).__name__}` takes a list of arrays, but got one array. Write"
            " [array] in place of it."
        )
    scale = value_of(scale)
    losses = [loss(jnp.asarray(value_of(t))) for t in tensors]
    return scale * jnp.asarray(sum(losses)) if losses else jnp.zeros_like(jnp.asarray(scale))


def _checked(regularizer: Regularizer, scale: Any) -> Any:
    try:
        negative = bool(value_of(scale) < 0)
    except jax.errors.ConcretizationTypeError:
        return scale  # a traced scale cannot be looked at
    if negative:
        raise SonnetValueError(
            f"`{type(regularizer).__name__}`: scale must be at least 0; got {scale}."
        )
    return scale
