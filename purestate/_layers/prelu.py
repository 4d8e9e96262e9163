"""The parametric rectified linear unit."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.axes import Axes, absolute_axes, axes_or_slice, parameter_shape
from purestate._layers.errors import LayerError, not_an_array
from purestate._layers.initializers import Constant
from purestate._layers.param_dtype import get_parameter_kept_in

_quarter = Constant(0.25)


class PReLU(Module):
    """A ReLU whose slope for negative inputs is learned.

    `max(x, 0) + slope * min(x, 0)`. He et al. 2015, arXiv:1502.01852. Leave the slope out of weight
    decay, as the paper does: it would draw it to zero, which is a plain ReLU.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.PReLU(param_axis=-1)(x))
    >>> x = jnp.array([[-4.0, 2.0]])
    >>> params = f.init(None, x)
    >>> params["prelu"]["slope"].shape, f.apply(params, None, x).tolist()
    ((2,), [[-1.0, 2.0]])

    Args:
      slope_init: the initializer of `slope`; None for 0.25, as in the paper.
      name: the name of the module.
      param_axis: the axes along which the slope differs: -1, or 1 with channels first, for one
        slope per channel; None for one slope in all.
      param_dtype: the dtype of the parameter; None for that of the input.

    Raises:
      LayerError: `param_axis` is not an axis.
    """

    def __init__(
        self,
        slope_init: Initializer | None = None,
        name: str | None = None,
        *,
        param_axis: Axes | None = None,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name="prelu" if name is None else name)
        self.slope_init = slope_init or _quarter
        self.param_axis = (
            () if param_axis is None else axes_or_slice(param_axis, "PReLU: param_axis")
        )
        self.param_dtype = param_dtype

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns `inputs` if they are positive, and `slope * inputs` if not.

        Args:
          inputs: an array of floats that has the axes.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `inputs` are not an array of floats, or have no such axis.
        """
        if isinstance(inputs, np.ndarray):
            inputs = jnp.asarray(inputs)
        try:
            shape, dtype = inputs.shape, inputs.dtype
        except AttributeError:
            raise not_an_array(self, inputs) from None
        if not jnp.issubdtype(dtype, jnp.floating):
            raise LayerError(
                f"PReLU {self.module_name!r} needs floats, got {dtype}: its slope has the dtype of"
                " the input. Convert it, such as with x.astype(jnp.float32)."
            )
        axes = absolute_axes(self.param_axis, len(shape))
        slope = get_parameter_kept_in(
            self.param_dtype,
            "slope",
            parameter_shape(shape, axes) if axes else (),
            dtype,
            self.slope_init,
        )
        return jnp.where(inputs > 0, inputs, jnp.broadcast_to(slope, shape) * inputs)
