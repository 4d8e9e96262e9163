"""`Einsum`: a linear layer written as an equation."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.dense_general import truncated_normal_for
from purestate._layers.errors import LayerError
from purestate._layers.linear import add_bias
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.products import einsum


class Einsum(Module):
    """Multiplies the input with a weight as an equation says, and adds a bias.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def heads(x):
    ...     return ps.Einsum("btd,dhk->bthk", shape=[6, 4, 8], bias_shape=[4, 8])(x)
    >>> f = ps.transform(heads)
    >>> x = jnp.ones([2, 5, 6])
    >>> params = f.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params), f.apply(params, None, x).shape
    ({'einsum': {'b': (4, 8), 'w': (6, 4, 8)}}, (2, 5, 4, 8))

    Args:
      equation: `"input,weight->output"`, as in `jax.numpy.einsum`; `...` may stand for axes of the
        input.
      shape: of the weight.
      bias_shape: of the bias, which is added to the last axes of the output (1 where it is the same
        for all); None for no bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(inputs)`, the
        number of weights that are summed in one output.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: `equation` is not of this form, or `shape` does not fit it.
    """

    def __init__(
        self,
        equation: str,
        shape: Sequence[int],
        bias_shape: Sequence[int] | None = None,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        self.equation = equation
        self.shape = tuple(shape)
        self.bias_shape = None if bias_shape is None else tuple(bias_shape)
        self.b_init = b_init or jnp.zeros
        self.param_dtype = param_dtype
        inputs, _, output = equation.replace(" ", "").partition("->")
        x, _, w = inputs.partition(",")
        if not (x and w) or "->" not in equation or "," in w or not w.isalpha():
            raise LayerError(
                f"Einsum {self.module_name!r}: the equation is 'input,weight->output', such as"
                f" 'btd,dhk->bthk', with one letter for each axis of the weight; got {equation!r}."
            )
        if len(w) != len(self.shape):
            raise LayerError(
                f"Einsum {self.module_name!r}: in {equation!r} the weight has the axes {w!r}, but"
                f" shape={self.shape} has {len(self.shape)}."
            )
        fan_in = math.prod(
            size for letter, size in zip(w, self.shape, strict=True) if letter not in output
        )
        self.w_init = w_init or truncated_normal_for(fan_in)

    def __call__(
        self,
        inputs: jax.Array,
        *,
        precision: jax.lax.PrecisionLike = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        """Returns `einsum(equation, inputs, w) + b`.

        Args:
          inputs: an array with the axes that the equation says.
          precision: see `jax.numpy.einsum`.
          out_sharding: the sharding of the product on a mesh with explicit axes, if more than one
            fits; see `ps.ops.dot_general`.

        Returns:
          An array with the axes that the equation says.

        Raises:
          LayerError: the input does not fit the equation, or the bias not the output.
        """
        inputs = jnp.asarray(inputs)
        w = get_parameter_kept_in(self.param_dtype, "w", self.shape, inputs.dtype, self.w_init)
        try:
            out = einsum(self.equation, inputs, w, precision, out_sharding)
        except (ValueError, TypeError) as error:
            raise LayerError(
                f"Einsum {self.module_name!r}: an input of shape {inputs.shape} and a weight of"
                f" shape {self.shape} do not fit {self.equation!r}: {error}"
            ) from error
        if self.bias_shape is None:
            return out
        last = out.shape[max(out.ndim - len(self.bias_shape), 0) :]
        if len(last) != len(self.bias_shape) or any(
            b not in (1, n) for b, n in zip(self.bias_shape, last, strict=True)
        ):
            raise LayerError(
                f"Einsum {self.module_name!r}: the bias, {self.bias_shape}, does not fit the last"
                f" axes of the output, {out.shape}; their sizes have to be the same, or 1."
            )
        b = get_parameter_kept_in(self.param_dtype, "b", self.bias_shape, inputs.dtype, self.b_init)
        return add_bias(out, b)
