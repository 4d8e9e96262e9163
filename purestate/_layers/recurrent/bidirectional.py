"""Two cores over one sequence, one of them from its end."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._layers.errors import MODULE_CLASS, LayerError, check_bool, is_a_class
from purestate._layers.recurrent.core import RecurrentError, RNNCore, initial_state_of
from purestate._layers.recurrent.unroll import dynamic_unroll

T = TypeVar("T")


def _concat(forward: T, backward: T) -> T:
    return jax.tree.map(lambda f, b: jnp.concatenate([f, b], axis=-1), forward, backward)


def _sum(forward: T, backward: T) -> T:
    return jax.tree.map(jnp.add, forward, backward)


def _state_dtype(input_sequence: Any) -> Any:
    """Returns float32 for a state that goes with floats of up to 32 bits; None for JAX's default.

    The default would be float64 under `jax_enable_x64`, and so would the outputs.
    """
    dtype = jnp.result_type(jax.tree.leaves(input_sequence)[0])
    narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits <= 32
    return jnp.float32 if narrow else None


class Bidirectional(Module):
    """Runs a core over a sequence from the start, another from the end, and merges their outputs.

    So the outputs of a step know of all the sequence. Schuster and Paliwal 1997 (IEEE Transactions
    on Signal Processing 45:2673).

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs, lengths):
    ...     both = ps.Bidirectional(ps.LSTM(4), ps.LSTM(4))
    ...     return both(xs, sequence_length=lengths)
    >>> g = ps.transform(f)
    >>> xs, lengths = jnp.ones([7, 2, 3]), jnp.array([7, 5])
    >>> params = g.init(jax.random.key(0), xs, lengths)
    >>> outs, (forward, backward) = g.apply(params, None, xs, lengths)
    >>> outs.shape, backward.cell.shape
    ((7, 2, 8), (2, 4))

    Args:
      forward_core: the core that goes from the first step to the last.
      backward_core: the core that goes from the last step to the first.
      merge: what becomes of the outputs of both: "concat" joins their last axes, "sum" adds them, a
        function is given both, and None returns both as a pair.
      name: the name of the module.

    Raises:
      LayerError: `merge` is something else.
      ArgumentError: a core is a class.
    """

    def __init__(
        self,
        forward_core: RNNCore,
        backward_core: RNNCore,
        merge: str | Callable[[Any, Any], Any] | None = "concat",
        name: str | None = None,
    ):
        super().__init__(name=name)
        for core in (forward_core, backward_core):
            if core.__class__ is MODULE_CLASS:
                raise is_a_class(f"Bidirectional {self.module_name!r}", "each core", core)
        self.forward_core = forward_core
        self.backward_core = backward_core
        self.merge = merge
        if not (merge is None or callable(merge) or merge in ("concat", "sum")):
            raise LayerError(
                f'Bidirectional {self.module_name!r}: merge is "concat", "sum", a function of both'
                f" outputs, or None for both as a pair; got {merge!r}."
            )

    def __call__(
        self,
        input_sequence: Any,
        initial_state: Any = None,
        *,
        sequence_length: "ArrayLike | Sequence[int] | None" = None,
        time_major: bool = True,
        unroll: int | bool = 1,
    ) -> tuple[Any, tuple[Any, Any]]:
        """Runs both cores over a sequence.

        Args:
          input_sequence: a pytree of arrays `[T, B, ...]` or `[B, T, ...]`; the first of them tells
            the batch. Of two axes it is taken for `[T, D]`, without a batch.
          initial_state: a pair of states, as `initial_state` makes it; None to make it here.
          sequence_length: see `dynamic_unroll`; the backward core starts at the last step of each
            row.
          time_major: whether the time is the first axis, and not the second, of inputs and outputs.
          unroll: see `dynamic_unroll`.

        Returns:
          The merged outputs, `[T, B, ...]` or `[B, T, ...]`, and a pair of the states of the
          forward core, after the last step, and of the backward core, after the first.

        Raises:
          RecurrentError: there are no arrays to tell the batch from, or see `dynamic_unroll`.
        """
        if time_major.__class__ is not bool:
            check_bool(self, "time_major", time_major)
        if initial_state is None:
            batch_size = self._batch_size(input_sequence, time_major)
            initial_state = self.initial_state(batch_size, _state_dtype(input_sequence))
        options: Any = {
            "time_major": time_major,
            "unroll": unroll,
            "sequence_length": sequence_length,
        }
        forward, forward_state = dynamic_unroll(
            self.forward_core, input_sequence, initial_state[0], **options
        )
        backward, backward_state = dynamic_unroll(
            self.backward_core, input_sequence, initial_state[1], reverse=True, **options
        )
        states = forward_state, backward_state
        if self.merge is None:
            return (forward, backward), states
        merge: Any = (
            {"concat": _concat, "sum": _sum}[self.merge]
            if isinstance(self.merge, str)
            else self.merge
        )
        return merge(forward, backward), states

    def initial_state(self, batch_size: int | None, dtype: Any = None) -> tuple[Any, Any]:
        """Returns the initial states of both cores.

        Args:
          batch_size: B, or None for inputs without a batch.
          dtype: of the state's floating point arrays; None for those of the cores.

        Returns:
          A pair of states for `__call__`.
        """
        return (
            initial_state_of(self.forward_core, batch_size, dtype),
            initial_state_of(self.backward_core, batch_size, dtype),
        )

    def _batch_size(self, input_sequence: Any, time_major: bool) -> int | None:
        arrays = jax.tree.leaves(input_sequence)
        shape = jnp.shape(arrays[0]) if arrays else ()
        if len(shape) < 2:
            raise RecurrentError(
                f"Bidirectional {self.module_name!r} makes its initial state for inputs [T, B, D],"
                " [B, T, D] or [T, D], but "
                + (f"the first array has shape {shape}." if arrays else "there are no arrays.")
                + " Give it the state: module(inputs, module.initial_state(batch_size))."
            )
        if time_major:
            return shape[1] if len(shape) > 2 else None
        return shape[0]
