"""Spectral normalization, of an array and of a tree of parameters."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from purestate._core.collection import Bundle
from purestate._core.module import Module
from purestate._core.variables import get_state, set_state
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import RandomNormal


def _unit(x: jax.Array, eps: float) -> jax.Array:
    """`x` with length one."""
    return x * lax.rsqrt((x * x).sum(keepdims=True) + eps)


class SpectralNorm(Module):
    """Divides a matrix by its largest singular value, as power iteration finds it.

    The state `u0` is the right singular vector so far; it gets better with each call. `sigma` is
    the singular value as of the last call. Miyato et al. 2018, arXiv:1802.05957.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda w: ps.SpectralNorm(n_steps=20)(w))
    >>> w = jnp.array([[3.0, 0.0], [0.0, 2.0]])
    >>> params, state = f.init(jax.random.key(0), w)
    >>> out, state = f.apply(params, state, None, w)
    >>> bool(jnp.allclose(out, w / 3, atol=1e-3))
    True

    Args:
      eps: added to the squared length of vectors that are made to have length one.
      n_steps: how many steps of power iteration to make in each call.
      name: the name of the module.

    Raises:
      LayerError: `n_steps` is less than 1.
    """

    def __init__(self, eps: float = 1e-4, n_steps: int = 1, name: str | None = None):
        super().__init__(name=name)
        if n_steps < 1:
            raise LayerError(
                f"SpectralNorm needs at least one step of power iteration, got n_steps={n_steps}."
            )
        self.eps = eps
        self.n_steps = n_steps

    def __call__(
        self, value: ArrayLike, update_stats: bool = True, error_on_non_matrix: bool = False
    ) -> jax.Array:
        """Returns `value` over its largest singular value.

        Args:
          value: `[..., C]`; more than two axes are taken as a matrix of C columns.
          update_stats: whether to keep the singular vector and value.
          error_on_non_matrix: whether more than two axes are an error.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `value` has less than two axes, or more than two where these are an error.
        """
        if update_stats.__class__ is not bool:
            check_bool(self, "update_stats", update_stats)
        if error_on_non_matrix.__class__ is not bool:
            check_bool(self, "error_on_non_matrix", error_on_non_matrix)
        if not isinstance(value, jax.Array):
            value = jnp.asarray(value)
        if value.ndim < 2 or (value.ndim > 2 and error_on_non_matrix):
            raise LayerError(
                f"SpectralNorm {self.module_name!r} needs a matrix, or with"
                f" error_on_non_matrix=False more axes, [..., C]; got shape {value.shape}."
            )
        matrix = value if value.ndim == 2 else jnp.reshape(value, (-1, value.shape[-1]))
        u0 = get_state("u0", [1, matrix.shape[-1]], matrix.dtype, init=RandomNormal())
        v0 = u0
        for _ in range(self.n_steps):
            v0 = _unit(jnp.matmul(u0, matrix.transpose((1, 0))), self.eps)
            u0 = _unit(jnp.matmul(v0, matrix), self.eps)
        u0 = lax.stop_gradient(u0)
        v0 = lax.stop_gradient(v0)
        sigma = jnp.matmul(jnp.matmul(v0, matrix), jnp.transpose(u0))[0, 0]
        if update_stats:
            set_state("u0", u0)
            set_state("sigma", sigma)
        return (matrix / sigma).reshape(value.shape)

    @property
    def u0(self) -> jax.Array:
        """The right singular vector as of the last call, `[1, C]`."""
        return get_state("u0")

    @property
    def sigma(self) -> jax.Array:
        """The largest singular value as of the last call; 1 where there was none."""
        return get_state("sigma", shape=(), init=jnp.ones)


class SNParamsTree(Module):
    """Divides every matrix in a tree of parameters by its largest singular value.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda params: ps.SNParamsTree(ignore_regex=".*b$")(params))
    >>> params = {"linear": {"w": jnp.eye(2), "b": jnp.ones([2])}}
    >>> _, state = f.init(jax.random.key(0), params)
    >>> list(state)
    ['sn_params_tree/linear__w']

    Args:
      eps: see `SpectralNorm`.
      n_steps: see `SpectralNorm`.
      ignore_regex: full names (`"module/name"`) that match it at their start are passed through.
      name: the name of the module.
    """

    def __init__(
        self, eps: float = 1e-4, n_steps: int = 1, ignore_regex: str = "", name: str | None = None
    ):
        super().__init__(name=name)
        self.eps = eps
        self.n_steps = n_steps
        self.ignore_regex = ignore_regex

    def __call__(self, tree: Mapping[str, Mapping[str, Any]], update_stats: bool = True) -> Bundle:
        """Returns the normalized parameters.

        Args:
          tree: `{module: {name: array}}`.
          update_stats: see `SpectralNorm`.

        Returns:
          A tree of the same structure.

        Raises:
          LayerError: one has less than two axes and is not ignored.
        """
        if update_stats.__class__ is not bool:
            check_bool(self, "update_stats", update_stats)

        def normalize(full_name: str, value: Any) -> Any:
            if self.ignore_regex and re.match(self.ignore_regex, full_name):
                return value
            name = full_name.replace("/", "__").replace("~", "_tilde")
            return SpectralNorm(self.eps, self.n_steps, name=name)(value, update_stats=update_stats)

        return {
            module: {name: normalize(f"{module}/{name}", value) for name, value in bundle.items()}
            for module, bundle in tree.items()
        }
