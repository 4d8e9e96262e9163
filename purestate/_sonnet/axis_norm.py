"""`LayerNorm` and `InstanceNorm`."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from purestate._ops.operation import operation
from purestate._sonnet.checks import (
    as_array,
    channel_index,
    check_scale_and_offset,
    check_scale_and_offset_init,
)
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer, Ones, Zeros
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable

Axis = int | slice | Iterable[int]


def checked_axis(module: Module, axis: Axis) -> slice | tuple[int, ...]:
    """Returns axes as a slice or a tuple; raises if they are neither."""
    if isinstance(axis, slice):
        return axis
    if isinstance(axis, int):
        return (axis,)
    axes: Any = tuple(axis) if isinstance(axis, Iterable) else None  # pyright: ignore
    if axes is not None and all(isinstance(one, int) for one in axes):
        return axes
    raise SonnetValueError(
        f"{type(module).__name__} {module.module_name!r}: axis must be an int, a sequence of ints"
        f" or a slice; got {axis!r}."
    )


def moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns mean and (biased) variance, with the axes kept; of 16-bit floats in float32."""
    wide = x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x
    mean = jnp.mean(wide, axes, keepdims=True)
    variance = jnp.mean(jnp.square(wide - lax.stop_gradient(mean)), axes, keepdims=True)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@operation("normalize", operands=6, array_option="eps")
def normalize(
    inputs: jax.Array,
    scale: jax.Array | None,
    offset: jax.Array | None,
    mask: None,
    mean: jax.Array,
    variance: jax.Array,
    kind: str = "batch",
    axis: tuple[int, ...] = (),
    eps: Any = 1e-5,
    use_fast_variance: bool = False,
    groups: tuple[int, ...] | None = None,
) -> jax.Array:
    """Returns `(inputs - mean) / sqrt(variance + eps) * scale + offset`, in Sonnet's order.

    To interceptors all layers of Sonnet are of kind "batch", which is given its statistics.
    """
    factor = lax.rsqrt(variance + jnp.asarray(eps, variance.dtype))
    if scale is not None:
        factor = factor * scale
    shift = -mean * factor if offset is None else offset - mean * factor
    return inputs * factor.astype(inputs.dtype) + shift.astype(inputs.dtype)


def parameter_shape(inputs: jax.Array, channels: int) -> tuple[int, ...]:
    """Returns the shape of a parameter for each channel."""
    if channels == -1:
        return inputs.shape[-1:]
    return (inputs.shape[1],) + (1,) * (inputs.ndim - 2)


class LayerNorm(Module):
    """Normalizes each example over some axes.

    Ba et al. 2016, "Layer normalization", arXiv:1607.06450, equation 3.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.LayerNorm(-1, True, True)(x))
    >>> params, _ = f.init(None, jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'layer_norm': {'offset': (3,), 'scale': (3,)}}

    Args:
      axis: the axes to take mean and variance over.
      create_scale: whether there is a factor for each channel, a parameter.
      create_offset: whether there is an offset for each channel, a parameter.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      data_format: the position of the channels, "channels_last", "channels_first" or such as
        "NHWC".
      name: the name of the module.

    Attributes:
      scale: the factor, or None, after the first call.
      offset: the offset, or None.

    Raises:
      SonnetValueError: an option is invalid.
    """

    scale: Variable | None
    offset: Variable | None

    def __init__(
        self,
        axis: Axis,
        create_scale: bool,
        create_offset: bool,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._axis = checked_axis(self, axis)
        self._eps = eps
        self._data_format = data_format
        self._channel_index = channel_index(data_format)
        self._rank: int | None = None
        self._create_scale = create_scale
        self._create_offset = create_offset
        check_scale_and_offset_init(self, create_scale, create_offset, scale_init, offset_init)
        self._scale_init = Ones() if scale_init is None else scale_init
        self._offset_init = Zeros() if offset_init is None else offset_init

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        self._rank = inputs.ndim
        create_scale_and_offset(self, inputs)

    def __call__(
        self, inputs: jax.Array, scale: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> jax.Array:
        """Normalizes an input.

        Args:
          inputs: `[B, ..., C]`, or as `data_format` says; always with the same number of axes.
          scale: a factor, if the module has none.
          offset: an offset, if the module has none.

        Returns:
          An array of the same shape.

        Raises:
          SonnetValueError: the number of axes changed, or there are two scales or offsets.
        """
        inputs = as_array(inputs)
        self._initialize(inputs)
        factor, shift = given_or_own(self, scale, offset)
        check_same_rank(self, inputs)
        mean, variance = moments(inputs, absolute(self, self._axis, inputs.ndim))
        return normalize(inputs, factor, shift, None, mean, variance, eps=self._eps)


def create_scale_and_offset(module: Any, inputs: jax.Array) -> None:
    """Creates the scale and the offset of a layer, each or None."""
    shape = parameter_shape(inputs, module._channel_index)
    module.scale = module.offset = None
    if module._create_scale:
        module.scale = Variable.create("scale", shape, inputs.dtype, module._scale_init)
    if module._create_offset:
        module.offset = Variable.create("offset", shape, inputs.dtype, module._offset_init)


def given_or_own(
    module: Any, scale: ArrayLike | None, offset: ArrayLike | None
) -> tuple[jax.Array | None, jax.Array | None]:
    """Returns the scale and the offset of a call: those of the module, or those given."""
    check_scale_and_offset(module, module._create_scale, module._create_offset, scale, offset)
    chosen = (
        module.scale if module._create_scale else scale,
        module.offset if module._create_offset else offset,
    )
    factor, shift = (None if x is None else as_array(x) for x in chosen)
    return factor, shift


def check_same_rank(module: Any, inputs: jax.Array) -> None:
    """Raises if the input has another number of axes than at the first call."""
    if inputs.ndim != module._rank:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} was first called with {module._rank}"
            f" axes, and now with {inputs.ndim} (shape {list(inputs.shape)}). Use a module for"
            " each number of axes."
        )


def absolute(module: Module, axis: slice | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Returns axes counted from the front; raises if the input does not have them."""
    if isinstance(axis, slice):
        return tuple(range(ndim)[axis])
    wrong = [a for a in axis if not -ndim <= a < ndim]
    if wrong:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r}: axis={wrong[0]} is not an axis of an"
            f" input with {ndim} axes. Choose from {-ndim} to {ndim - 1}."
        )
    return tuple(a % ndim for a in axis)


class InstanceNorm(LayerNorm):
    """Normalizes each example and channel over the spatial axes.

    Ulyanov et al. 2016, arXiv:1607.08022.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.InstanceNorm(True, True)(x))
    >>> params, _ = f.init(None, jnp.ones([2, 8, 8, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'instance_norm': {'offset': (3,), 'scale': (3,)}}

    Args:
      create_scale: see `LayerNorm`, as the others.
      create_offset: whether there is an offset.
      eps: added to the variance.
      scale_init: the initializer of the factor.
      offset_init: the initializer of the offset.
      data_format: the position of the channels.
      name: the name of the module.
    """

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
    ):
        first = channel_index(data_format) == 1
        super().__init__(
            slice(2, None) if first else slice(1, -1),
            create_scale,
            create_offset,
            eps,
            scale_init,
            offset_init,
            data_format,
            name,
        )
