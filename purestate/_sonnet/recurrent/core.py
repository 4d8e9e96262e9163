"""`RNNCore` and `UnrolledRNN`, and the checks that the cores share."""

import abc
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._core.errors import kind_of
from purestate._sonnet.errors import SonnetAttributeError, SonnetTypeError, SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable


class RNNCore(Module):
    """The base class of cores: `core(inputs, prev_state) -> (outputs, next_state)` is one step.

    Inputs, outputs and states may be any pytrees of arrays `[B, ...]`. `static_unroll` and
    `dynamic_unroll` run a core over a sequence.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Sum(snt.RNNCore):
    ...     def __call__(self, inputs, prev_state):
    ...         total = prev_state + inputs
    ...         return total, total
    ...     def initial_state(self, batch_size):
    ...         return jnp.zeros([batch_size])
    >>> core = Sum()
    >>> outputs, last = snt.dynamic_unroll(core, jnp.ones([3, 2]), core.initial_state(2))
    >>> outputs.tolist(), last.tolist()
    ([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [3.0, 3.0])

    Args:
      name: the name of the module.
    """

    @abc.abstractmethod
    def __call__(self, inputs: Any, prev_state: Any) -> tuple[Any, Any]:
        """Runs one step.

        Args:
          inputs: the inputs of this step, `[B, ...]`.
          prev_state: the state before it.

        Returns:
          The outputs of this step, and the state after it.

        Raises:
          SonnetTypeError: the subclass does not define it.
        """
        raise _not_defined(self, "__call__(self, inputs, prev_state)")

    @abc.abstractmethod
    def initial_state(self, batch_size: int, **kwargs: Any) -> Any:
        """Returns the state before the first step.

        Args:
          batch_size: B.
          **kwargs: what the subclass takes.

        Returns:
          A state for `__call__`.

        Raises:
          SonnetTypeError: the subclass does not define it.
        """
        raise _not_defined(self, "initial_state(self, batch_size)")


class UnrolledRNN(Module):
    """The base class of networks that run over a whole sequence, as `UnrolledLSTM` does.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Sums(snt.UnrolledRNN):
    ...     def __call__(self, input_sequence, initial_state):
    ...         outputs = initial_state + jnp.cumsum(input_sequence, axis=0)
    ...         return outputs, outputs[-1]
    ...     def initial_state(self, batch_size):
    ...         return jnp.zeros([batch_size])
    >>> sums = Sums()
    >>> sums(jnp.ones([3, 1]), sums.initial_state(1))[1].tolist()
    [3.0]

    Args:
      name: the name of the module.
    """

    @abc.abstractmethod
    def __call__(self, input_sequence: Any, initial_state: Any) -> tuple[Any, Any]:
        """Runs over a sequence.

        Args:
          input_sequence: a pytree of arrays `[T, B, ...]`.
          initial_state: the state before the first step.

        Returns:
          The outputs, `[T, B, ...]`, and the state after the last step.

        Raises:
          SonnetTypeError: the subclass does not define it.
        """
        raise _not_defined(self, "__call__(self, input_sequence, initial_state)")

    @abc.abstractmethod
    def initial_state(self, batch_size: int, **kwargs: Any) -> Any:
        """Returns the state before the first step; see `RNNCore.initial_state`."""
        raise _not_defined(self, "initial_state(self, batch_size)")


def _not_defined(module: Module, signature: str) -> SonnetTypeError:
    kind = type(module).__name__
    return SonnetTypeError(
        f"{kind} {module.module_name!r} was called, but the class {kind} does not define"
        f" {signature.partition('(')[0]}. Write in the class: def {signature}: ..."
    )


ONE_STEP = " It runs one step; over a sequence [T, B, ...] run snt.dynamic_unroll(core, xs, state)."
"""What to write instead of a call of a core on a sequence."""


def zeros(module: Module, batch_size: Any, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
    """Returns zeros of the shape `[batch_size, *shape]`."""
    return jnp.zeros((check_batch_size(module, batch_size), *shape), dtype)


def check_batch_size(module: Module, batch_size: Any) -> Any:
    """Returns the batch size; raises unless it is a number that is at least 0."""
    number = isinstance(batch_size, (int, np.integer, jax.Array, np.ndarray))
    if not number or (isinstance(batch_size, (int, np.integer)) and batch_size < 0):
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r}: batch_size is the number of examples"
            f" in a batch, at least 0; got {batch_size!r}. Take it from the inputs: x.shape[0], or"
            " x.shape[1] for a sequence [T, B, ...]."
        )
    return batch_size


def check_dtype(module: Module, inputs: jax.Array, dtype: DTypeLike) -> None:
    """Raises unless the inputs have the dtype that the module was made for."""
    if inputs.dtype != jax.dtypes.canonicalize_dtype(dtype):
        name = jnp.dtype(dtype).name
        raise SonnetTypeError(
            f"{type(module).__name__} {module.module_name!r} was made for {name}, but its inputs"
            f" are {inputs.dtype}. Cast them, x.astype(jnp.{name}), or make it for them:"
            f" dtype=jnp.{inputs.dtype}."
        )


def check_state(module: Module, inputs: jax.Array, state: jax.Array, size: int) -> None:
    """Raises unless a state `[B, size]` fits inputs `[B, ...]`."""
    if state.shape[:-1] == inputs.shape[:-1] and state.shape[-1] == size:
        return
    try:
        np.broadcast_shapes(inputs.shape[:-1], state.shape[:-1])
        fits = state.shape[-1:] == (size,)
    except ValueError:
        fits = False
    if not fits:
        raise SonnetValueError(
            f"{type(module).__name__} {module.module_name!r} was given inputs of the shape"
            f" {list(inputs.shape)} and a state of the shape {list(state.shape)}, but needs the"
            f" same batch in both, and a state whose last axis is {size}. Begin with"
            " core.initial_state(x.shape[0]), and pass on the state that the last step returned."
        )


def hidden_and_cell(module: Module, state: Any) -> tuple[Any, Any]:
    """Returns the two parts of an `LSTMState`."""
    try:
        return state.hidden, state.cell
    except AttributeError:
        raise SonnetAttributeError(
            f"{type(module).__name__} {module.module_name!r} needs an LSTMState as its state, but"
            f" was given {kind_of(state)}. Write snt.LSTMState(hidden, cell), or begin with"
            " core.initial_state(B)."
        ) from None


def created(module: Module, owner: Module, attribute: str) -> Variable:
    """Returns a variable of `owner`; raises if `module` was not called yet."""
    variable: Variable | None = vars(owner).get(attribute)
    if variable is None:
        raise SonnetAttributeError(
            f"{type(module).__name__} {module.module_name!r} has no weights yet: their shape"
            " depends on the inputs. Call it on an example before."
        )
    return variable
