"""Weight normalization: a weight as a length times a direction."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._core.hooks import GetterContext, custom_getter
from purestate._core.module import Module
from purestate._core.variables import Initializer, get_parameter
from purestate._layers.axes import Axes, absolute_axes, axes_or_slice, parameter_shape
from purestate._ops.normalization import with_rank

Predicate = Callable[[str, str, Any], bool]
"""`predicate(module_name, name, value) -> bool`, as in `ps.data_structures.partition`."""


def _exact(v: jax.Array) -> jax.Array:
    """Returns `v` with at least 32 bits."""
    return v if jnp.finfo(v.dtype).bits >= 32 else v.astype(jnp.float32)


def length(v: jax.Array, axes: tuple[int, ...], eps: float) -> jax.Array:
    """Returns the length of a weight over some axes, which stay as ones."""
    return lax.sqrt(jnp.sum(jnp.square(_exact(v)), axes, keepdims=True) + eps)


def normalized(v: jax.Array, g: jax.Array, axes: tuple[int, ...], eps: float) -> jax.Array:
    """Returns `g * v / ||v||` with at least 32 bits; `g` has as many axes as `v`."""
    return _exact(v) * (_exact(g) / length(v, axes, eps))


def _normalize(
    v: jax.Array, axis: tuple[int, ...] | slice, name: str, g_init: Initializer | None, eps: float
) -> jax.Array:
    """Returns `g * v / ||v||`, with the parameter `name` as g."""
    axes = absolute_axes(axis, v.ndim)
    others = tuple(i for i in range(v.ndim) if i not in axes)
    exact = _exact(v)
    norm = length(exact, others, eps)
    shape = parameter_shape(v.shape, axes)
    # The same norm, so that g / ||v|| is exactly one at first.
    g = get_parameter(
        name,
        shape,
        v.dtype,
        g_init or (lambda shape, dtype: lax.reshape(norm, shape).astype(dtype)),
    )
    return (exact * (with_rank(g.astype(exact.dtype), v.ndim) / norm)).astype(v.dtype)


class WeightNorm(Module):
    """Gives a weight a length of its own: returns `g * v / ||v||`, where g is a parameter.

    Salimans and Kingma 2016, arXiv:1602.07868. For the weights of layers, see `weight_norm`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     v = ps.get_parameter("v", [3, 2], init=jnp.ones)
    ...     return x @ ps.WeightNorm()(v)
    >>> jax.tree.map(jnp.shape, ps.transform(f).init(None, jnp.ones([1, 3])))
    {'weight_norm': {'g': (2,)}, '~': {'v': (3, 2)}}

    Args:
      axis: the axes along which g differs, those of the outputs; `()` for one g in all.
      g_init: the initializer of g; None for `||v||`, with which nothing changes at first.
      eps: added to the squared length.
      name: the name of the module.

    Raises:
      LayerError: `axis` is no axis.
    """

    def __init__(
        self,
        axis: Axes = -1,
        g_init: Initializer | None = None,
        eps: float = 1e-12,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.axis = axes_or_slice(axis, "WeightNorm: axis")
        self.g_init = g_init
        self.eps = eps

    def __call__(self, v: jax.Array) -> jax.Array:
        """Returns `g * v / ||v||`.

        Args:
          v: an array that has the axes.

        Returns:
          An array of the same shape and dtype.

        Raises:
          LayerError: an axis is not there.
        """
        return _normalize(v, self.axis, "g", self.g_init, self.eps)


def weight_norm(
    axis: Axes = -1,
    predicate: Predicate | None = None,
    g_init: Initializer | None = None,
    eps: float = 1e-12,
) -> AbstractContextManager[None]:
    """Normalizes the weights of the layers that are called inside the `with` block.

    A layer with the parameter `w` gets another, `w_g`, and sees `w_g * w / ||w||`. `w` stays in the
    params as it is, and at first nothing changes, so that parameters trained without can be used.
    Salimans and Kingma 2016, arXiv:1602.07868.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     with ps.weight_norm():
    ...         return ps.Linear(2)(x)
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (2,), 'w': (3, 2), 'w_g': (2,)}}

    Args:
      axis: the axes along which g differs: -1 for the outputs of Linear and of convolutions, -2 for
        those of transposed convolutions, `()` for one g per weight.
      predicate: `predicate(module_name, name, value)` says which parameters are weights; None for
        those named `w`.
      g_init: the initializer of g; None for `||w||`.
      eps: added to the squared length.

    Returns:
      A context manager.

    Raises:
      FrameError: used outside a transformed function.
      LayerError: `axis` is no axis, or not in a weight.
    """
    axis = axes_or_slice(axis, "weight_norm: axis")

    def getter(next_getter: Callable[[Any], Any], value: Any, context: GetterContext) -> Any:
        name = context.name
        if name == "w" if predicate is None else predicate(context.module_name, name, value):
            value = _normalize(value, axis, f"{name}_g", g_init, eps)
        return next_getter(value)

    return custom_getter(getter)
