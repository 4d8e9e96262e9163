"""Calling functions that want other leading axes than there are."""

import functools
import math
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class

P = ParamSpec("P")
R = TypeVar("R")


class BatchApply(Generic[P, R]):
    """Calls a function with some leading axes made one, and splits that axis of the results again.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.BatchApply(ps.Conv2D(8, 3))(x))
    >>> frames = jnp.ones([2, 5, 16, 16, 3])
    >>> f.apply(f.init(jax.random.key(0), frames), None, frames).shape
    (2, 5, 16, 16, 8)

    Args:
      f: a function or module.
      num_dims: how many leading axes to make one.

    Raises:
      ArgumentError: `f` is a class of modules.
    """

    def __init__(self, f: "Callable[P, R]", num_dims: int = 2):
        if f.__class__ is MODULE_CLASS:
            raise is_a_class("BatchApply", "its first argument", f)
        self._f = f
        self.num_dims = num_dims

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Returns the results of the function.

        Args:
          *args: pytrees of arrays `[B, T, ...]`; what has fewer than `num_dims` axes is passed on
            as it is.
          **kwargs: likewise.

        Returns:
          A pytree of arrays `[B, T, ...]`.

        Raises:
          LayerError: nothing has `num_dims` axes, or they do not agree.
        """
        n = self.num_dims
        shapes = [np.shape(x) for x in jax.tree.leaves((args, kwargs))]
        leading = next((shape[:n] for shape in shapes if len(shape) >= n), None)
        if leading is None:
            raise LayerError(
                f"BatchApply makes {n} leading axes one, so at least one input needs {n} axes or"
                f" more; got the shapes {shapes}."
            )
        size = math.prod(leading)
        for shape in shapes:
            if len(shape) >= n and shape[:n] != leading and math.prod(shape[:n]) == size:
                raise LayerError(
                    f"BatchApply makes {n} leading axes one. {leading} and {shape[:n]} are as many"
                    " examples, but in another order, so that they would be mixed up; the shapes"
                    f" are {shapes}."
                )

        def merge(x: Any) -> Any:
            return x.reshape((math.prod(x.shape[:n]), *x.shape[n:])) if np.ndim(x) >= n else x

        args, kwargs = jax.tree.map(merge, (args, kwargs))
        return jax.tree.map(lambda x: x.reshape((*leading, *x.shape[1:])), self._f(*args, **kwargs))


def expand_apply(f: "Callable[P, R]", axis: int = 0) -> "Callable[P, R]":
    """Makes a function of batches a function of single examples.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.expand_apply(lambda x: x / x.shape[0])(jnp.ones([3])).tolist()
    [1.0, 1.0, 1.0]

    Args:
      f: a function of pytrees of arrays that have a batch axis.
      axis: where its batch axis is, 0 or -1.

    Returns:
      A function of pytrees of arrays without it.

    Raises:
      LayerError: `axis` is neither 0 nor -1.
      ArgumentError: `f` is a class of modules.
    """
    if f.__class__ is MODULE_CLASS:
        raise is_a_class("expand_apply", "its first argument", f)
    if axis not in (0, -1):
        raise LayerError(f"expand_apply: the axis has to be 0 or -1, got {axis}.")

    @functools.wraps(f)
    def expanded(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = jax.tree.map(lambda x: jnp.expand_dims(x, axis), (args, kwargs))
        return jax.tree.map(lambda x: jnp.squeeze(x, axis), f(*args, **kwargs))

    return expanded
