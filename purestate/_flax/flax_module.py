"""A transformed function as a flax module. Needs flax."""

import inspect
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from purestate._core.collection import Bundle
from purestate._core.errors import ArgumentError, kind_of
from purestate._core.pairs import Transformed, TransformedWithState
from purestate._core.transform import transform_with_state, with_empty_state
from purestate._flax.flax_collections import flatten_flax_to_haiku


class Module(nn.Module):
    """A flax module that runs a transformed function.

    Its parameters are in the collection "params" and its state in "state", nested by the parts of
    the module's path. `init` makes them with the key "params". The function draws its random keys
    from the key "apply", if there is one.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([8, 2])(x))
    >>> net = ps.experimental.flax.Module(f)
    >>> variables = net.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> net.apply(variables, jnp.ones([1, 3])).shape
    (1, 2)

    Args:
      transformed: what `ps.transform` or `ps.transform_with_state` returned.
      parent: see flax.
      name: the name of the module in its parent.

    Raises:
      ArgumentError: `transformed` is not the result of one of these.
    """

    transformed: Any

    def __post_init__(self) -> None:
        if isinstance(self.transformed, Transformed):
            self.transformed = with_empty_state(self.transformed)
        elif not isinstance(self.transformed, TransformedWithState):
            raise _not_transformed(self.transformed)
        super().__post_init__()

    @classmethod
    def create(cls, hk_cls: type[Any], *init_args: Any, **init_kwargs: Any) -> "Module":
        """Makes a flax module from a class of purestate modules.

        >>> import jax, jax.numpy as jnp, purestate as ps
        >>> net = ps.experimental.flax.Module.create(ps.Linear, 2, with_bias=False)
        >>> jax.tree.map(jnp.shape, net.init(jax.random.key(0), jnp.ones([1, 3])))
        {'params': {'linear': {'w': (3, 2)}}}

        Args:
          hk_cls: the class.
          *init_args: positional arguments of its constructor.
          **init_kwargs: keyword arguments of its constructor.

        Returns:
          A flax module. It takes the arguments of the purestate module.
        """

        def call_new(*args: Any, **kwargs: Any) -> Any:
            return hk_cls(*init_args, **init_kwargs)(*args, **kwargs)

        return cls(transform_with_state(call_new))

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function.

        Args:
          *args: positional arguments of the function.
          **kwargs: keyword arguments of the function.

        Returns:
          The result of the function.
        """
        if self.is_initializing():
            params, state = self.transformed.init(self.make_rng("params"), *args, **kwargs)
            self._put("params", params)
            self._put("state", state)
        else:
            params = flatten_flax_to_haiku(self.variables.get("params", {}))
            state = (
                flatten_flax_to_haiku(self.variables["state"])
                if "state" in self.variables
                else None
            )
        rng = self.make_rng("apply") if self.has_rng("apply") else None
        out, new_state = self.transformed.apply(params, state, rng, *args, **kwargs)
        if not self.is_initializing():
            # Writes only the state that the function has set: the collection may be immutable in
            # this `apply`.
            self._put("state", self._to_write(state or {}, new_state))
        return out

    def _to_write(self, state: Mapping[str, Mapping[str, Any]], new_state: Bundle) -> Bundle:
        """Returns the state that was set, and, if "state" is mutable, the state that was made."""
        keeps_new = self.is_mutable_collection("state")
        to_write: Bundle = {}
        for module_name, variables in new_state.items():
            old = state.get(module_name, {})
            for name, value in variables.items():
                if old[name] is not value if name in old else keeps_new:
                    to_write.setdefault(module_name, {})[name] = value
        return to_write

    def _put(self, collection: str, bundle: Bundle) -> None:
        for module_name, variables in bundle.items():
            scope: Any = self.scope
            for part in module_name.split("/"):
                scope = scope.push(part, reuse=True)
            for name, value in variables.items():
                scope.put_variable(collection, name, value)


def _not_transformed(value: Any) -> ArgumentError:
    if inspect.isclass(value):
        advice = f"Write `Module.create({value.__name__}, ...)` for a class of modules."
    elif callable(value):
        advice = "Write `Module(ps.transform_with_state(f))` for a function f."
    else:
        advice = "Pass what `ps.transform` or `ps.transform_with_state` returned."
    return ArgumentError(
        "`ps.experimental.flax.Module` runs a transformed function, but got"
        f" {kind_of(value)}. {advice}"
    )
