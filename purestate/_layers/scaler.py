"""A factor for each feature."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.axes import Axes, absolute_axes, axes_or_slice, parameter_shape
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.param_dtype import get_parameter_kept_in


class Scaler(Module):
    """Multiplies each feature by a learned factor, and adds an offset if asked to.

    This is the last step of a normalization, without the normalization. At the end of a residual
    branch, with a small initial value, it is LayerScale (Touvron et al. 2021, arXiv:2103.17239).
    For an offset without a factor, use `Bias`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return x + ps.Scaler(scale_init=ps.initializers.Constant(1e-4))(ps.Linear(3)(x))
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (3,), 'w': (3, 3)}, 'scaler': {'scale': (3,)}}

    Args:
      create_offset: whether there is an offset, a parameter.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      name: the name of the module.
      param_axis: the axes along which factor and offset differ; `()` for one in all.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: `param_axis` is not an axis, or there is an initializer for nothing.
    """

    def __init__(
        self,
        create_offset: bool = False,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_axis: Axes = -1,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if create_offset.__class__ is not bool:
            check_bool(self, "create_offset", create_offset)
        if offset_init is not None and not create_offset:
            raise LayerError(
                "Scaler: offset_init is given, but create_offset=False makes no offset."
            )
        self.create_offset = create_offset
        self.scale_init = scale_init or jnp.ones
        self.offset_init = offset_init or jnp.zeros
        self.param_axis = axes_or_slice(param_axis, "Scaler: param_axis")
        self.param_dtype = param_dtype

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns `inputs * scale + offset`.

        Args:
          inputs: an array that has the axes.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `inputs` are not an array, or have no such axis.
        """
        if isinstance(inputs, np.ndarray):
            inputs = jnp.asarray(inputs)
        try:
            full, dtype = inputs.shape, inputs.dtype
        except AttributeError:
            raise not_an_array(self, inputs) from None
        axes = absolute_axes(self.param_axis, len(full))
        shape = parameter_shape(full, axes) if axes else ()
        scale = get_parameter_kept_in(self.param_dtype, "scale", shape, dtype, self.scale_init)
        out = inputs * jnp.broadcast_to(scale, full)
        if not self.create_offset:
            return out
        offset = get_parameter_kept_in(self.param_dtype, "offset", shape, dtype, self.offset_init)
        return out + jnp.broadcast_to(offset, full)
