"""Running a core over a sequence."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from purestate._core.errors import kind_of
from purestate._core.frame import inside_transform
from purestate._layers.errors import MODULE_CLASS, check_bool, is_a_class
from purestate._layers.recurrent.core import RecurrentError, as_array
from purestate._lifted.scan import scan

X = TypeVar("X")
Y = TypeVar("Y")
S = TypeVar("S")

Core = Callable[[Any, Any], tuple[Any, Any]]


def _lengths(
    what: str,
    sequence_length: "ArrayLike | Sequence[int]",
    shapes: list[tuple[int, ...]],
    time_axis: int,
) -> jax.Array:
    """Checks `sequence_length`, `[B]` or `[]`, against the shapes of the inputs."""
    lengths = as_array(sequence_length)
    if lengths.ndim > 1 or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise RecurrentError(
            f"{what}: sequence_length is integers, one for each row, [B], or one number where there"
            f" is no batch; got {lengths.dtype} of shape {lengths.shape}."
        )
    for shape in shapes:
        without_time = shape[:time_axis] + shape[time_axis + 1 :]
        if len(shape) <= time_axis or without_time[: lengths.ndim] != lengths.shape:
            layout = "[T, B, ...]" if time_axis == 0 else "[B, T, ...]"
            raise RecurrentError(
                f"{what}: sequence_length of shape {lengths.shape} needs inputs {layout} with the"
                f" same B, but one of them has shape {shape}. Write time_major={time_axis != 0} if"
                " the axes are the other way round."
            )
    try:
        values = np.asarray(sequence_length)
    except jax.errors.TracerArrayConversionError:
        return lengths  # traced lengths cannot be looked at
    num_steps = shapes[0][time_axis] if shapes else 0
    if (values < 0).any() or (values > num_steps).any():
        raise RecurrentError(
            f"{what}: there are {num_steps} steps, so that sequence_length has to be from 0 to"
            f" {num_steps}; got {values.tolist()}."
        )
    return lengths


def _where(valid: jax.Array, x: Any, y: Any) -> jax.Array:
    """Takes rows of `x` where `valid`, `[B]`, and of `y` elsewhere."""
    x, y = as_array(x), as_array(y)
    if x.shape[: valid.ndim] != valid.shape:
        raise RecurrentError(
            f"With sequence_length of shape {valid.shape}, outputs and states have to begin with"
            f" the batch, but the core returned one of shape {x.shape}. Have it return [B, ...],"
            " and keep what has no batch out of the state."
        )
    return jnp.where(lax.reshape(valid, valid.shape + (1,) * (x.ndim - valid.ndim)), x, y)


def _until_the_end(
    what: str,
    core: Core,
    input_sequence: Any,
    sequence_length: "ArrayLike | Sequence[int]",
    time_axis: int,
) -> tuple[Core, Any]:
    """Returns a core that does nothing after the end of a row, and the inputs for it."""
    input_sequence = jax.tree.map(as_array, input_sequence)
    shapes = [x.shape for x in jax.tree.leaves(input_sequence)]
    lengths = _lengths(what, sequence_length, shapes, time_axis)
    num_steps = shapes[0][time_axis] if shapes else 0
    valid = (
        jnp.expand_dims(jnp.arange(num_steps), 1 - time_axis)
        if lengths.ndim
        else jnp.arange(num_steps)
    )
    valid = valid < (jnp.expand_dims(lengths, time_axis) if lengths.ndim else lengths)

    # The core must not see the padding: what is not finite there would get into gradients as 0 *
    # nan, through the derivative of the core, although nobody looks at its outputs. It sees the
    # first step of the row instead, for which it is surely defined; zeros only where there is no
    # first step.
    def stand_in(x: jax.Array) -> jax.Array:
        first = (
            lax.index_in_dim(x, 0, time_axis, keepdims=False)
            if num_steps
            else jnp.zeros(x.shape[1:], x.dtype)
        )
        return _where(lengths > 0, first, jnp.zeros_like(first))

    stand_ins = jax.tree.map(stand_in, input_sequence)

    def step(inputs: tuple[jax.Array, Any], state: Any) -> tuple[Any, Any]:
        valid, inputs = inputs
        where = functools.partial(_where, valid)
        outputs, next_state = core(jax.tree.map(where, inputs, stand_ins), state)
        outputs = jax.tree.map(lambda y: where(y, jnp.zeros_like(y)), outputs)
        return outputs, jax.tree.map(where, next_state, state)

    return step, (valid, input_sequence)


def static_unroll(
    core: "Callable[[X, S], tuple[Y, S]]",
    input_sequence: X,
    initial_state: S,
    time_major: bool = True,
    *,
    sequence_length: "ArrayLike | Sequence[int] | None" = None,
) -> "tuple[Y, S]":
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
      sequence_length: how many steps each row has; see `dynamic_unroll`.

    Returns:
      The outputs, `[T, ...]` or `[B, T, ...]`, and the state after the last step.

    Raises:
      RecurrentError: there are no steps, or `sequence_length` does not fit.
      ArgumentError: `core` is a class.
    """
    if core.__class__ is MODULE_CLASS:
        raise is_a_class("static_unroll", "its core", core)
    if time_major.__class__ is not bool:
        check_bool("static_unroll", "time_major", time_major)
    time_axis = 0 if time_major else 1
    arrays, treedef = jax.tree.flatten(input_sequence)
    try:
        num_steps = arrays[0].shape[time_axis] if arrays else 0
    except (AttributeError, IndexError):
        what = (
            f"an array of shape {arrays[0].shape}"
            if hasattr(arrays[0], "shape")
            else kind_of(arrays[0])
        )
        raise RecurrentError(
            f"static_unroll goes along axis {time_axis}, the time, of each array in input_sequence,"
            f" but there is {what} in it."
        ) from None
    if not num_steps:
        raise RecurrentError(
            "static_unroll has no steps to run: input_sequence "
            + (
                f"begins with an array of shape {arrays[0].shape}, and its axis {time_axis} is the"
                " time."
                if arrays
                else "has no arrays."
            )
        )
    if sequence_length is not None:
        core, masked = _until_the_end(
            "static_unroll", core, input_sequence, sequence_length, time_axis
        )
        arrays, treedef = jax.tree.flatten(masked)
    arrays = [jnp.unstack(x, axis=time_axis) for x in arrays]
    outputs: list[Any] = []
    state = initial_state
    for t in range(num_steps):
        output, state = core(jax.tree.unflatten(treedef, [steps[t] for steps in arrays]), state)
        outputs.append(output)
    return jax.tree.map(lambda *steps: jnp.stack(steps, axis=time_axis), *outputs), state


def _swap_batch_and_time(sequence: X) -> X:
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), sequence)


def dynamic_unroll(
    core: "Callable[[X, S], tuple[Y, S]]",
    input_sequence: X,
    initial_state: S,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int | bool = 1,
    *,
    sequence_length: "ArrayLike | Sequence[int] | None" = None,
) -> "tuple[Y, S]":
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
      sequence_length: how many steps each row has, integers `[B]`, or one number for inputs without
        a batch; None for all. After the end of a row its outputs are zero and its state remains;
        with `reverse` it begins at the end. Padding, whatever is in it, does not touch outputs,
        states or gradients.

    Returns:
      The outputs, `[T, ...]` or `[B, T, ...]`, and the state after the last step; or the states
      after all steps, in the layout of the outputs.

    Raises:
      RecurrentError: `sequence_length` does not fit the inputs, the outputs or the states.
      ArgumentError: `core` is a class.
      NewVariableError: a later step makes a variable that the first did not make.
    """
    if core.__class__ is MODULE_CLASS:
        raise is_a_class("dynamic_unroll", "its core", core)
    if time_major.__class__ is not bool:
        check_bool("dynamic_unroll", "time_major", time_major)
    if reverse.__class__ is not bool:
        check_bool("dynamic_unroll", "reverse", reverse)
    if return_all_states.__class__ is not bool:
        check_bool("dynamic_unroll", "return_all_states", return_all_states)
    if sequence_length is not None:
        time_axis = 0 if time_major else 1
        core, input_sequence = _until_the_end(
            "dynamic_unroll", core, input_sequence, sequence_length, time_axis
        )

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
