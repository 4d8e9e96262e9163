"""`Linear` and `Bias`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer, get_parameter
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.inlined import inlined, is_staged, remembered_by_jax
from purestate._ops.products import dot_general


def add_bias(out: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds `bias` to the last axes of `out`, whatever `jax_numpy_rank_promotion` says."""
    if out.dtype != bias.dtype:
        return out + jnp.broadcast_to(bias, out.shape)
    return _add(out, bias) if is_staged() else _add_at_once(out, bias)


def _add(out: jax.Array, bias: jax.Array) -> jax.Array:
    # Broadcast all the way, and not to ones: that would need two equations more in the gradient.
    if bias.shape != out.shape:
        axes = range(len(out.shape) - len(bias.shape), len(out.shape))
        bias = lax.broadcast_in_dim(bias, out.shape, axes)
    return lax.add(out, bias)


# Eagerly one operation of JAX instead of two, which rounds in the same way.
_add_at_once = remembered_by_jax(_add, ())


@inlined(static=(3, 4))
def _affine(
    inputs: jax.Array,
    w: jax.Array,
    b: jax.Array,
    precision: lax.PrecisionLike,
    out_sharding: Any,
) -> jax.Array:
    out = dot_general(inputs, w, None, precision, None, out_sharding)
    return _add(out, b) if is_staged() else _add_at_once(out, b)


class Linear(Module):
    """Multiplies the last axis with a matrix, and adds a bias.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(10)(x))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([2, 3])))
    {'linear': {'b': (10,), 'w': (3, 10)}}

    Args:
      output_size: the size of the last axis of the output.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(inputs)`.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
    """

    def __init__(
        self,
        output_size: int,
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
        self.param_dtype = param_dtype
        self.input_size: int | None = None
        self.output_size = output_size
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init or jnp.zeros

    def __call__(
        self,
        inputs: jax.Array,
        *,
        precision: lax.PrecisionLike = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns `inputs @ w + b`.

        Args:
          inputs: `[..., inputs]`.
          precision: see `jax.lax.dot_general`.
          out_sharding: the sharding of the product on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          `[..., output_size]`.

        Raises:
          LayerError: `inputs` is a scalar, or no array.
        """
        try:
            shape = inputs.shape
        except AttributeError:
            raise not_an_array(self, inputs) from None
        if not shape:
            raise LayerError(
                f"Linear {self.module_name!r} was given a scalar; it needs an input with a last"
                " axis, [..., inputs]."
            )
        if isinstance(inputs, np.ndarray):
            inputs = jnp.asarray(inputs)
        dtype = inputs.dtype
        input_size = self.input_size = shape[-1]
        w = get_parameter_kept_in(
            self.param_dtype,
            "w",
            (input_size, self.output_size),
            dtype,
            self.w_init or truncated_fan_in,
        )
        if not self.with_bias:
            return dot_general(inputs, w, None, precision, None, out_sharding)
        b = get_parameter_kept_in(self.param_dtype, "b", (self.output_size,), dtype, self.b_init)
        if w.dtype == dtype == b.dtype:
            return _affine(inputs, w, b, precision, out_sharding)
        return add_bias(dot_general(inputs, w, None, precision, None, out_sharding), b)


def _bias_shape(input_shape: Sequence[int], bias_dims: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of a bias along `bias_dims`, without leading ones."""
    if bias_dims is None:
        return tuple(input_shape[1:])
    rank = len(input_shape)
    shape = [1] * rank
    for dim in bias_dims:
        axis = dim % rank if dim < 0 else dim
        if axis == 0:
            raise LayerError("Bias: bias_dims must not have axis 0, which is the batch.")
        if axis >= rank:
            raise LayerError(
                f"Bias: axis {dim} of bias_dims={tuple(bias_dims)} is not in an input with {rank}"
                " axes."
            )
        shape[axis] = input_shape[axis]
    while shape and shape[0] == 1:
        shape.pop(0)
    return tuple(shape)


class Bias(Module):
    """Adds a bias, one value for each feature or for each index of some axes.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Bias(bias_dims=[-1])(x))
    >>> jax.tree.map(jnp.shape, f.init(None, jnp.ones([2, 5, 3])))
    {'bias': {'b': (3,)}}

    Args:
      output_size: the shape of the input without its batch axis, to be checked; None for any.
      bias_dims: the axes along which the bias differs; None for all but the batch, `[]` for none.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.
    """

    def __init__(
        self,
        output_size: Sequence[int] | None = None,
        bias_dims: Sequence[int] | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.output_size = output_size
        self.bias_dims = bias_dims
        self.b_init = b_init or jnp.zeros
        self.bias_shape: tuple[int, ...] | None = None
        self.input_size: tuple[int, ...] | None = None

    def __call__(self, inputs: jax.Array, multiplier: float | jax.Array | None = None) -> jax.Array:
        """Returns `inputs + b * multiplier`.

        Args:
          inputs: `[B, ...]`.
          multiplier: a factor for the bias; None for 1.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: the shape is not what was declared, or has less than two axes, or there is no
            array.
        """
        try:
            ndim = inputs.ndim
        except AttributeError:
            raise not_an_array(self, inputs) from None
        if ndim < 2:
            raise LayerError(
                f"Bias {self.module_name!r} needs an input of two or more axes, [B, ...], got shape"
                f" {inputs.shape}."
            )
        if self.output_size is not None and tuple(self.output_size) != tuple(inputs.shape[1:]):
            raise LayerError(
                f"Bias {self.module_name!r} was declared for inputs of shape [B,"
                f" {', '.join(map(str, self.output_size))}], but got {tuple(inputs.shape)}."
            )
        self.bias_shape = _bias_shape(inputs.shape, self.bias_dims)
        self.input_size = inputs.shape[1:]
        b = get_parameter("b", self.bias_shape, inputs.dtype, init=self.b_init)
        if multiplier is None:
            return add_bias(jnp.asarray(inputs), b)
        return inputs + jnp.broadcast_to(b, inputs.shape) * multiplier
