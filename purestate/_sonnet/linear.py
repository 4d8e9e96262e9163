"""`Linear` and `Bias`."""

import math
from collections.abc import Sequence

import jax

from purestate._ops.inlined import inlined
from purestate._ops.products import dot_general
from purestate._sonnet.checks import as_array, check_bias_init, check_input, check_minimum_rank
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, TruncatedNormal, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable


@inlined()
def _affine(inputs: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    return dot_general(inputs, w) + b


class Linear(Module):
    """Multiplies the last axis by a matrix and adds a bias.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Linear(10)(x))
    >>> params, _ = f.init(jax.random.key(0), jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (10,), 'w': (3, 10)}}

    Args:
      output_size: the size of the last axis of the output.
      with_bias: whether there is a bias.
      w_init: the initializer of `w`; None for a truncated normal of stddev `1 / sqrt(inputs)`.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.

    Attributes:
      w: the matrix `[inputs, output_size]`, after the first call.
      b: the bias `[output_size]`.
      input_size: the number of inputs, after the first call.

    Raises:
      SonnetValueError: `b_init` without a bias.
    """

    w: Variable
    b: Variable

    def __init__(
        self,
        output_size: int,
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        check_bias_init(self, with_bias, b_init)
        self.output_size = output_size
        self.with_bias = with_bias
        self.w_init = w_init
        if with_bias:
            self.b_init = Zeros() if b_init is None else b_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_minimum_rank(self, inputs, 2)
        self.input_size = inputs.shape[-1]
        if self.w_init is None:
            self.w_init = TruncatedNormal(stddev=1 / math.sqrt(self.input_size))
        shape = (self.input_size, self.output_size)
        self.w = Variable.create("w", shape, inputs.dtype, self.w_init)
        if self.with_bias:
            self.b = Variable.create("b", shape[1:], inputs.dtype, self.b_init)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns `inputs @ w + b`.

        Args:
          inputs: `[..., inputs]`, with at least two axes.

        Returns:
          `[..., output_size]`.

        Raises:
          SonnetValueError: the input has one axis, or another size or dtype than at first.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        w = as_array(self.w)
        check_input(self, inputs, w, self.input_size, -1)
        if self.with_bias:
            return _affine(inputs, w, as_array(self.b))
        return dot_general(inputs, w)


class Bias(Module):
    """Adds a bias.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.Bias(bias_dims=[-1])(x))
    >>> params, _ = f.init(None, jnp.ones([2, 5, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'bias': {'b': (3,)}}

    Args:
      output_size: the shape of the input without its batch axis, to be checked; None for any.
      bias_dims: the axes along which the bias differs; None for all but the batch, `[]` for none.
      b_init: the initializer of `b`; None for zeros.
      name: the name of the module.

    Attributes:
      b: the bias, after the first call.
    """

    b: Variable

    def __init__(
        self,
        output_size: int | Sequence[int] | None = None,
        bias_dims: Sequence[int] | None = None,
        b_init: Initializer | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.output_size = output_size
        self.bias_dims = bias_dims
        self.b_init = Zeros() if b_init is None else b_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        check_minimum_rank(self, inputs, 2)
        shape = _bias_shape(self, inputs.shape)
        self.input_size = inputs.shape[1:]
        wanted = (self.output_size,) if isinstance(self.output_size, int) else self.output_size
        if wanted is not None and self.input_size != tuple(wanted):
            raise SonnetValueError(
                f"Bias {self.module_name!r} was made for output_size={self.output_size}, but the"
                f" input has the shape {list(inputs.shape)}. Set"
                f" output_size={list(self.input_size)}, its shape without the batch, or leave it"
                " out."
            )
        self.b = Variable.create("b", shape, inputs.dtype, self.b_init)

    def __call__(self, inputs: jax.Array, multiplier: float | jax.Array | None = None) -> jax.Array:
        """Returns `inputs + b * multiplier`.

        Args:
          inputs: `[B, ...]`.
          multiplier: a factor for the bias; None for 1.

        Returns:
          An array of the same shape.

        Raises:
          SonnetValueError: the shape does not fit.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        b = as_array(self.b)
        return inputs + (b if multiplier is None else b * multiplier)


def _bias_shape(module: Bias, shape: tuple[int, ...]) -> tuple[int, ...]:
    if module.bias_dims is None:
        return shape[1:]
    sizes = [1] * len(shape)
    for dim in module.bias_dims:
        axis = dim % len(shape) if dim < 0 else dim
        if not 0 < axis < len(shape):
            raise SonnetValueError(
                f"Bias {module.module_name!r}: bias_dims={list(module.bias_dims)} has axis {dim},"
                f" but a bias for the input shape {list(shape)} can have axes 1 to"
                f" {len(shape) - 1}; axis 0 is the batch."
            )
        sizes[axis] = shape[axis]
    while sizes and sizes[0] == 1:
        del sizes[0]
    return tuple(sizes)
