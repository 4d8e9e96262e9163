"""`TrainableState`: an initial state that is learned."""

from typing import Any

import jax
import jax.numpy as jnp

from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.recurrent.core import RNNCore, check_batch_size
from purestate._sonnet.variable import Variable, is_variable


class TrainableState(Module):
    """An initial state that is learned, the same for each example of the batch.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def f(xs):
    ...     core = snt.GRU(4)
    ...     state = snt.TrainableState.for_core(core)
    ...     return snt.dynamic_unroll(core, xs, state(xs.shape[1]))
    >>> params, _ = ps.transform_with_state(f).init(jax.random.key(0), jnp.ones([7, 2, 3]))
    >>> params["trainable_state"]["state"].shape
    (1, 4)

    A variable is called after its place in the state, such as "hidden" or "0/cell"; "state" if the
    state is one array.

    Args:
      initial_values: a pytree of arrays, without the axis of the batch.
      mask: a pytree of bools of the same structure, which parts are trained; None for all.
      name: the name of the module.

    Raises:
      SonnetValueError: the mask has another structure, or there is None in the state.
      SonnetTypeError: the mask is of other containers, such as a list for a tuple.
    """

    def __init__(self, initial_values: Any, mask: Any | None = None, name: str | None = None):
        super().__init__(name)
        values, structure = jax.tree_util.tree_flatten_with_path(initial_values, is_leaf=_is_none)
        trained = [True] * len(values) if mask is None else _leaves_of(mask, initial_values)
        variables: list[Variable] = []
        for (path, value), trainable in zip(values, trained, strict=True):
            variable = jax.tree_util.keystr(path, simple=True, separator="/") or "state"
            variables.append(self._create(variable, value, bool(trainable)))
        self._template = jax.tree.unflatten(structure, variables)

    def _create(self, name: str, value: Any, trainable: bool) -> Variable:
        if value is None:
            raise SonnetValueError(
                f"TrainableState {self.module_name!r}: {name!r} is None, and only arrays can be"
                " learned. Leave it out of initial_values, and add it to the state at each call."
            )
        first = as_array(value)[None]
        return Variable.create(
            name, first.shape, first.dtype, lambda shape, dtype: first, trainable
        )

    @classmethod
    def for_core(
        cls, core: RNNCore, mask: Any | None = None, name: str | None = None
    ) -> "TrainableState":
        """Makes one for a core, which begins with the core's own initial state.

        Args:
          core: a core.
          mask: see `TrainableState`.
          name: the name of the module.

        Returns:
          A `TrainableState`.
        """
        values = jax.tree.map(
            lambda x: None if x is None else jnp.squeeze(x, axis=0),
            core.initial_state(batch_size=1),
            is_leaf=_is_none,
        )
        return cls(values, mask, name)

    def __call__(self, batch_size: int) -> Any:
        """Returns the state for a batch.

        Args:
          batch_size: B.

        Returns:
          A state of arrays `[B, ...]`.

        Raises:
          SonnetValueError: `batch_size` is not a number.
        """
        size = check_batch_size(self, batch_size)
        return jax.tree.map(
            lambda v: jnp.tile(v.value(), (size, *(1 for _ in v.shape[1:]))),
            self._template,
            is_leaf=is_variable,
        )


def _is_none(x: object) -> bool:
    return x is None


def _as_lists(tree: Any) -> Any:
    """Returns what a nest comes to if all sequences are of one kind and all leaves are equal."""
    if isinstance(tree, dict):
        return {key: _as_lists(value) for key, value in tree.items()}
    return [_as_lists(value) for value in tree] if isinstance(tree, (list, tuple)) else None


def _leaves_of(mask: Any, values: Any) -> list[Any]:
    """Returns the leaves of a mask; raises unless it has the structure of the values."""
    structure = jax.tree.structure(values, is_leaf=_is_none)
    leaves, of_mask = jax.tree.flatten(mask, is_leaf=_is_none)
    if of_mask == structure:
        return leaves
    message = (
        f"TrainableState: the mask needs the structure of the state, {structure}, but has"
        f" {of_mask}. Write jax.tree.map(lambda x: True, state), and change the parts to leave as"
        " they are to False."
    )
    if _as_lists(mask) == _as_lists(values):
        raise SonnetTypeError(message)
    raise SonnetValueError(message)
