"""`DenseGeneral`: a linear layer over any axes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import TruncatedNormal
from purestate._layers.linear import add_bias
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.products import dot_general, with_axes_in_order


def truncated_normal_for(fan_in: int) -> Callable[[Sequence[int], Any], jax.Array]:
    """The default of weights: truncated normal, stddev `1 / sqrt(fan_in)`."""
    return lambda shape, dtype: TruncatedNormal(stddev=1.0 / np.sqrt(fan_in))(shape, dtype)


def _as_tuple(value: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


class DenseGeneral(Module):
    """Multiplies any axes of the input with a weight, and puts the features at the end.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     heads = ps.DenseGeneral([4, 8], name="to_heads")(x)
    ...     return ps.DenseGeneral(6, axis=[-2, -1], name="from_heads")(heads)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([2, 5, 6])
    >>> params = g.init(jax.random.key(0), x)
    >>> params["to_heads"]["w"].shape, params["from_heads"]["w"].shape
    ((6, 4, 8), (4, 8, 6))
    >>> g.apply(params, None, x).shape
    (2, 5, 6)

    Args:
      features: the sizes of the axes that come at the end of the output.
      axis: the axes that are multiplied away, in the order that they have in the weight.
      batch_axes: axes along which the weights differ, such as that of experts; the output keeps
        them.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`, `[*batch_axes, *axis, *features]`; None for a truncated normal
        of stddev `1 / sqrt(inputs)`.
      b_init: the initializer of `b`, `[*batch_axes, *features]`; None for zeros.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        features: int | Sequence[int],
        axis: int | Sequence[int] = -1,
        batch_axes: int | Sequence[int] = (),
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.features = _as_tuple(features)
        self.axis = _as_tuple(axis)
        self.batch_axes = _as_tuple(batch_axes)
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init or jnp.zeros
        self.param_dtype = param_dtype

    def __call__(
        self,
        inputs: jax.Array,
        *,
        precision: lax.PrecisionLike = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns `inputs` times `w`, plus `b`.

        Args:
          inputs: an array that has the axes.
          precision: see `jax.lax.dot_general`.
          out_sharding: the sharding of the product on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          The axes of `inputs` that are not in `axis`, in their order, then the features.

        Raises:
          LayerError: an axis is not there, or named twice.
        """
        inputs = jnp.asarray(inputs)
        shape, ndim, dtype = inputs.shape, inputs.ndim, inputs.dtype
        named = (*self.batch_axes, *self.axis)
        if (
            any(not -ndim <= a < ndim for a in named)
            or len({a % ndim for a in named}) < len(named)
            or not self.axis
        ):
            raise LayerError(
                f"DenseGeneral {self.module_name!r} was given an input of shape {shape} for"
                f" axis={self.axis} and batch_axes={self.batch_axes}; there has to be an axis, all"
                " have to be in the input, and none may be named twice."
            )
        axis = tuple(a % ndim for a in self.axis)
        batch = tuple(a % ndim for a in self.batch_axes)
        kept = [a for a in range(ndim) if a not in axis]
        batch_shape = tuple(shape[a] for a in batch)
        summed_shape = tuple(shape[a] for a in axis)

        w_init = self.w_init or truncated_normal_for(math.prod(summed_shape))
        w = get_parameter_kept_in(
            self.param_dtype, "w", (*batch_shape, *summed_shape, *self.features), dtype, w_init
        )
        axes_of_w = range(len(batch) + len(axis))
        summed_in_w, batch_in_w = tuple(axes_of_w[len(batch) :]), tuple(axes_of_w[: len(batch)])
        dimension_numbers = ((axis, summed_in_w), (batch, batch_in_w))
        order = [*batch, *(a for a in kept if a not in batch)]  # of the product
        if out_sharding is not None:
            places = [*map(kept.index, order), *range(len(kept), len(kept) + len(self.features))]
            out_sharding = with_axes_in_order(out_sharding, places)
        out = dot_general(inputs, w, dimension_numbers, precision, None, out_sharding)
        if batch and order != kept:
            out = lax.transpose(out, (*(order.index(a) for a in kept), *range(len(kept), out.ndim)))
        if self.with_bias:
            b = get_parameter_kept_in(
                self.param_dtype, "b", (*batch_shape, *self.features), dtype, self.b_init
            )
            if batch:
                # From the order of `batch_axes` to that of the input, with ones for the axes
                # between.
                by_place = sorted(range(len(batch)), key=lambda i: batch[i])
                b = lax.transpose(b, (*by_place, *range(len(batch), b.ndim)))
                b = lax.reshape(b, (*(shape[a] if a in batch else 1 for a in kept), *self.features))
            out = add_bias(out, b)
        return out
