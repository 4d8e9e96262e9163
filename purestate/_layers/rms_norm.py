"""Root mean square normalization."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module
from purestate._core.variables import Initializer
from purestate._layers.axes import (
    Axes,
    absolute_axes,
    axes_or_slice,
    checked_norm_mask,
    parameter_shape,
)
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._ops.normalization import normalize


class RMSNorm(Module):
    """Divides each example by its root mean square over some of its axes.

    Zhang and Sennrich 2019, arXiv:1910.07467.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.RMSNorm(axis=-1)(x))
    >>> x = jnp.array([[1.0, 7.0]])
    >>> params = f.init(None, x)
    >>> [round(v, 2) for v in f.apply(params, None, x)[0].tolist()]
    [0.2, 1.4]

    Args:
      axis: the axes to take the mean of squares over: one, several or a slice.
      eps: added to the mean of squares.
      scale_init: the initializer of the factor; None for ones.
      name: the name of the module.
      create_scale: whether there is a factor, a parameter.
      param_axis: the axes along which the factor differs; None for the last.
      param_dtype: the dtype of the factor; None for that of the input.

    Raises:
      LayerError: `axis` or `param_axis` is no axis, or there is an initializer for nothing.
    """

    def __init__(
        self,
        axis: Axes,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        name: str | None = None,
        create_scale: bool = True,
        *,
        param_axis: Axes | None = None,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if create_scale.__class__ is not bool:
            check_bool(self, "create_scale", create_scale)
        if not create_scale and scale_init is not None:
            raise LayerError("RMSNorm: scale_init is given, but create_scale=False makes no scale.")
        self.axis = axes_or_slice(axis, "RMSNorm: axis")
        self.eps = eps
        self.param_dtype = param_dtype
        self.create_scale = create_scale
        self.scale_init = scale_init or jnp.ones
        self.param_axis = (
            (-1,) if param_axis is None else axes_or_slice(param_axis, "RMSNorm: param_axis")
        )

    def __call__(
        self, inputs: jax.Array | np.ndarray[Any, Any], *, mask: ArrayLike | None = None
    ) -> jax.Array:
        """Returns `inputs`, normalized.

        Args:
          inputs: an array that has the axes.
          mask: booleans that broadcast to `inputs`: what counts in the statistics, such as
            `mask[:, :, None]` for `[B, T]`; None for all.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: an axis is not in `inputs`.
        """
        if not isinstance(inputs, jax.Array):
            inputs = jnp.asarray(inputs)
        axis = absolute_axes(self.axis, inputs.ndim)
        if mask is not None:
            mask = checked_norm_mask(self, mask, inputs.shape)
        scale = None
        if self.create_scale:
            shape = parameter_shape(inputs.shape, absolute_axes(self.param_axis, inputs.ndim))
            scale = get_parameter_kept_in(
                self.param_dtype, "scale", shape, inputs.dtype, self.scale_init
            )
        return normalize(inputs, scale, None, mask, kind="rms", axis=axis, eps=self.eps)
