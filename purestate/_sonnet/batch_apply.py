"""`BatchApply`, and merging and splitting leading axes."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable, value_of


def _is_array(x: object) -> bool:
    return isinstance(x, (jax.Array, np.ndarray, Variable))


def merge_leading_dims(x: Any, num_dims: int) -> Any:
    """Merges the first axes of an array into one.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.merge_leading_dims(jnp.ones([2, 3, 4]), 2).shape
    (6, 4)

    Args:
      x: an array. Anything else, and an array with fewer axes, is returned as it is.
      num_dims: how many axes to merge.

    Returns:
      `[B1 * B2 * ..., ...]`.

    Raises:
      SonnetValueError: `num_dims` is below 1.
    """
    if not _is_array(x) or num_dims > x.ndim:
        return x
    if num_dims < 1:
        raise SonnetValueError(
            f"`snt.merge_leading_dims`: num_dims must be at least 1; got {num_dims}."
        )
    array = jnp.asarray(value_of(x))
    return array.reshape(math.prod(array.shape[:num_dims]), *array.shape[num_dims:])


def split_leading_dim(x: Any, example: Any, num_dims: int) -> Any:
    """Splits the first axis of an array into the first axes of an example.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.split_leading_dim(jnp.ones([6, 4]), jnp.ones([2, 3, 7]), 2).shape
    (2, 3, 4)

    Args:
      x: an array. Anything else is returned as it is.
      example: an array whose first axes are taken.
      num_dims: how many axes to take.

    Returns:
      `[B1, B2, ..., ...]`.

    Raises:
      SonnetValueError: the first axis has another size.
    """
    if not _is_array(x):
        return x
    array = jnp.asarray(value_of(x))
    leading: tuple[int, ...] = tuple(example.shape[:num_dims])
    if array.shape[:1] != (math.prod(leading),):
        raise SonnetValueError(
            f"`snt.split_leading_dim`: the first axis of an array of the shape {list(array.shape)}"
            f" cannot be split into {list(leading)}, the first {num_dims} axes of the example. It"
            f" needs {math.prod(leading)} elements."
        )
    return array.reshape(*leading, *array.shape[1:])


class BatchApply(Module):
    """Applies a module to inputs whose leading axes are merged, and splits them again.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.BatchApply(snt.Linear(5))(x))
    >>> x = jnp.ones([2, 3, 4])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> f.apply(params, state, None, x)[0].shape
    (2, 3, 5)

    Args:
      module: a module or function.
      num_dims: how many leading axes to merge.
      name: the name of the module.
    """

    def __init__(self, module: Callable[..., Any], num_dims: int = 2, name: str | None = None):
        super().__init__(name=name)
        self.module = module
        self.num_dims = num_dims

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Applies the module.

        Args:
          *args: for the module; arrays in nested structures have their leading axes merged.
          **kwargs: likewise.

        Returns:
          What the module returns, with the leading axes of the first array split again.

        Raises:
          SonnetValueError: it was called without an input.
        """
        leaves = jax.tree.leaves((args, kwargs), is_leaf=lambda x: x is None)
        if not leaves:
            raise SonnetValueError(
                f"BatchApply {self.module_name!r} was called without an input. Pass an array, whose"
                f" first {self.num_dims} axes are merged."
            )

        def merge(x: Any) -> Any:
            return merge_leading_dims(x, self.num_dims)

        args, kwargs = jax.tree.map(merge, (args, kwargs))
        outputs = self.module(*args, **kwargs)
        return jax.tree.map(lambda x: split_leading_dim(x, leaves[0], self.num_dims), outputs)
