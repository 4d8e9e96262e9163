"""What `export` and `load_exported` return: a program, and the weights it is called with."""

from collections.abc import Callable
from typing import Any

import jax

from purestate._core.outlines import outline_argument, outline_arguments
from purestate._export.errors import ExportError


class ExportedModel:
    """An exported function and its weights; made by `export` and `load_exported`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> model = ps.export(f, params, None, "float32[b, 3]")
    >>> model
    <ExportedModel lambda(float32[b,3]) -> float32[b,2], for cpu>
    >>> model(jnp.ones([7, 3])).shape
    (7, 2)

    Attributes:
      exported: the program, a `jax.export.Exported` of `(params, state, rng, *inputs)`.
      params: the parameters.
      state: the state, or None.
    """

    def __init__(self, exported: jax.export.Exported, params: Any, state: Any):
        self.exported = exported
        self.params = params
        self.state = state
        self._call = jax.jit(exported.call if exported.has_vjp() else _only_forward(exported.call))
        self._takes: tuple[Any, ...] = jax.tree.unflatten(exported.in_tree, exported.in_avals)[0]

    def __call__(self, *inputs: Any, rng: Any = None) -> Any:
        """Calls the program with the weights of the file.

        Args:
          *inputs: arrays, or trees of them, as in the specs.
          rng: a random key, if the program takes one.

        Returns:
          What `apply` of the exported function returns.

        Raises:
          ExportError: the inputs have other shapes, dtypes or structures than the specs.
        """
        return self.apply(self.params, self.state, rng, *inputs)

    def apply(self, params: Any, state: Any, rng: Any, *inputs: Any) -> Any:
        """Calls the program with other weights, or to differentiate it by them.

        Args:
          params: the parameters; None if the function was exported with None.
          state: the state; None if the function was exported with None.
          rng: a random key; None if the function was exported with None.
          *inputs: see `__call__`.

        Returns:
          What `apply` of the exported function returns.

        Raises:
          ExportError: an argument has another shape, dtype or structure.
        """
        args = (params, state, rng, *inputs)
        try:
            return self._call(*args)
        except (TypeError, ValueError) as error:
            raise ExportError(f"{self!r}: {self._misfit(args, error)}") from error

    def _misfit(self, args: tuple[Any, ...], error: Exception) -> str:
        """Returns the first argument that does not fit; what JAX says if we cannot tell."""
        if len(args) != len(self._takes):
            count = len(self._takes) - 3
            return f"it takes {count} input{'s' * (count != 1)}, but got {len(args) - 3}."
        names = ("params", "state", "rng", *(f"input {i}" for i in range(len(args) - 3)))
        for name, taken, given in zip(names, self._takes, args, strict=True):
            if jax.tree.structure(taken) != jax.tree.structure(given):
                return (
                    f"{name} must have the structure {jax.tree.structure(taken)}, but has"
                    f" {jax.tree.structure(given)}."
                )
            leaves = zip(jax.tree.leaves_with_path(taken), jax.tree.leaves(given), strict=True)
            for (path, want), leaf in leaves:
                if not _fits(want, leaf):
                    return (
                        f"{name}{jax.tree_util.keystr(path)} must be {outline_argument(want)}, but"
                        f" is {outline_argument(leaf)}."
                    )
        return str(error)

    def __repr__(self) -> str:
        _, _, rng, *inputs = self._takes
        out = jax.tree.unflatten(self.exported.out_tree, self.exported.out_avals)
        takes = outline_arguments(tuple(inputs), {} if rng is None else {"rng": rng})
        return (
            f"<ExportedModel {self.exported.fun_name}({takes}) -> {outline_argument(out)}, for"
            f" {', '.join(self.exported.platforms)}>"
        )


def _only_forward(call: Callable[..., Any]) -> Callable[..., Any]:
    """Has a program without a derivative say so when it is differentiated."""

    def forward(*args: Any) -> Any:
        raise ExportError(
            "the file has no derivative of its program. Write it with ps.export(..., vjp_order=1)."
        )

    once = jax.custom_vjp(call)
    once.defvjp(forward, lambda residuals, cotangents: residuals)
    return once


def _fits(want: Any, leaf: Any) -> bool:
    return (
        getattr(leaf, "dtype", None) == want.dtype
        and len(leaf.shape) == len(want.shape)
        and all(
            jax.export.is_symbolic_dim(size) or size == given
            for size, given in zip(want.shape, leaf.shape, strict=True)
        )
    )
