"""Modules side by side."""

from collections.abc import Callable, Iterable
from typing import Any

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.module import Module
from purestate._layers.errors import MODULE_CLASS, is_a_class
from purestate._layers.sequential import check_no_class, check_several


class Parallel(Module):
    """Calls functions or modules on the same input, and returns all their results.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     branches = [ps.Conv2D(8, 1), ps.Conv2D(8, 3), lambda x: x]
    ...     return ps.Parallel(branches, combine=lambda outs: jnp.concatenate(outs, axis=-1))(x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 6, 6, 3])
    >>> params = g.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params)
    {'conv2_d': {'b': (8,), 'w': (1, 1, 3, 8)}, 'conv2_d_1': {'b': (8,), 'w': (3, 3, 3, 8)}}
    >>> g.apply(params, None, x).shape
    (1, 6, 6, 19)

    Args:
      layers: functions of the same arguments.
      combine: a function of the tuple of results, such as `sum`; None to return the tuple.
      name: the name of the module.

    Raises:
      ArgumentError: `layers` is one function, and not several in a list, a layer is a class, or
        `combine` is not a function.
    """

    def __init__(
        self,
        layers: Iterable[Callable[..., Any]],
        combine: Callable[[tuple[Any, ...]], Any] | None = None,
        name: str | None = None,
    ):
        check_several("Parallel", layers)  # first, as a second layer would be the name
        super().__init__(name=name)
        self.layers = tuple(layers)
        check_no_class("Parallel", self, self.layers)
        if combine.__class__ is MODULE_CLASS:
            raise is_a_class(f"Parallel {self.module_name!r}", "combine", combine)
        if combine is not None and not callable(combine):
            raise ArgumentError(
                f"Parallel {self.module_name!r}: combine takes the tuple of results, so it is a"
                f" function such as `sum`, but was given {kind_of(combine)}."
            )
        self.combine = combine

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the results of all layers.

        Args:
          *args: the arguments of each layer.
          **kwargs: likewise.

        Returns:
          A tuple with one result for each layer, or what `combine` returns for it.
        """
        results = tuple(layer(*args, **kwargs) for layer in self.layers)
        return results if self.combine is None else self.combine(results)
