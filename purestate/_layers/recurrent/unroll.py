"""Running a core over a sequence."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.frame import inside_transform
from purestate._layers.recurrent.core import RecurrentError
from purestate._lifted.scan import scan

Core = Callable[[Any, Any], tuple[Any, Any]]


def static_unroll(core: Core, input_sequence: Any, initial_state: Any, time_major: bool = True) -> tuple[Any, Any]:
    """Runs a core over a sequence in a Python loop, which is compiled step by step.

    For short sequences, or where the steps differ. `dynamic_unroll` compiles one step for all.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     core = ps.GRU(4)
    ...     return ps.static_unroll(core, xs, core.initial_state(xs.shape[1]))
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([3, 2, 5])
    >>> outs, last = g.apply(g.init(jax.random.key(0), xs), None, xs)
    >>> outs.shape, last.shape
    ((3, 2, 4), (2, 4))

    Args:
      core: `core(inputs, state) -> (outputs, state)`, a core or any function.
      input_sequence: a pytree of arrays `[T, ...]`, or `[B, T, ...]`.
      initial_state: the state before the first step.
      time_major: whether the time is the first axis, and not the second, of inputs and outputs.

    Returns:
      The outputs, `[T, ...]` or `[B, T, ...]`, and the state after the last step.

    Raises:
      RecurrentError: there are no steps.
    """
    time_axis = 0 if time_major else 1
    arrays, treedef = jax.tree.flatten(input_sequence)
    num_steps = arrays[0].shape[time_axis] if arrays else 0
    if not num_steps:
        raise RecurrentError(
            "static_unroll has no steps to run: input_sequence "
            + (
                f"begins with an array of shape {arrays[0].shape}, and its axis {time_axis} is the time."
                if arrays
                else "has no arrays."
            )
        )
    arrays = [jnp.unstack(x, axis=time_axis) for x in arrays]
    outputs: list[Any] = []
    state = initial_state
    for t in range(num_steps):
        output, state = core(jax.tree.unflatten(treedef, [steps[t] for steps in arrays]), state)
        outputs.append(output)
    return jax.tree.map(lambda *steps: jnp.stack(steps, axis=time_axis), *outputs), state


def _swap_batch_and_time(sequence: Any) -> Any:
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), sequence)


def dynamic_unroll(
    core: Core,
    input_sequence: Any,
    initial_state: Any,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Runs a core over a sequence in a loop of which one step is compiled.

    With `ps.scan` inside a transformed function, and with `jax.lax.scan` outside.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     core = ps.LSTM(4)
    ...     return ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[0]), time_major=False)
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([2, 100, 5])
    >>> outs, last = g.apply(g.init(jax.random.key(0), xs), None, xs)
    >>> outs.shape, last.cell.shape
    ((2, 100, 4), (2, 4))

    Args:
      core: `core(inputs, state) -> (outputs, state)`, a core or any function.
      input_sequence: a pytree of arrays `[T, ...]`, or `[B, T, ...]`.
      initial_state: the state before the first step.
      time_major: whether the time is the first axis, and not the second, of inputs and outputs.
      reverse: whether to go from the last step to the first.
      return_all_states: whether to return the states after all steps, and not the last alone.
      unroll: how many steps to put into one turn of the loop.

    Returns:
      The outputs, `[T, ...]` or `[B, T, ...]`, and the state after the last step; or the states after all
      steps, in the layout of the outputs.

    Raises:
      NewVariableError: a later step makes a variable that the first did not make.
    """

    def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        outputs, state = core(inputs, state)
        return state, (outputs, state) if return_all_states else outputs

    if not time_major:
        input_sequence = _swap_batch_and_time(input_sequence)
    run = scan if inside_transform() else jax.lax.scan
    last_state, collected = run(step, initial_state, input_sequence, reverse=reverse, unroll=unroll)
    if not time_major:
        collected = _swap_batch_and_time(collected)
    return collected if return_all_states else (collected, last_state)
