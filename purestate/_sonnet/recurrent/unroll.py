"""`static_unroll` and `dynamic_unroll`: running a core over a sequence."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._core.frame import Frame
from purestate._core.trace_guard import is_compiled_inside
from purestate._lifted.scan import scan
from purestate._sonnet.checks import as_array
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.outside import OUTSIDE, in_a_frame

Core = Callable[[Any, Any], tuple[Any, Any]]


def static_unroll(
    core: Core, input_sequence: Any, initial_state: Any, sequence_length: Any = None
) -> tuple[Any, Any]:
    """Runs a core over a sequence in a Python loop, which is compiled step by step.

    For short sequences. `dynamic_unroll` compiles one step for all.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.GRU(4)
    >>> outputs, last = snt.static_unroll(core, jnp.ones([3, 2, 5]), core.initial_state(2))
    >>> outputs.shape, last.shape
    ((3, 2, 4), (2, 4))

    Args:
      core: `core(inputs, state) -> (outputs, state)`, a core or any function.
      input_sequence: a pytree of arrays `[T, B, ...]`.
      initial_state: the state before the first step.
      sequence_length: how many steps each sequence has, `[B]`, or one number; see `dynamic_unroll`.

    Returns:
      The outputs, `[T, B, ...]`, and the state after the last step.

    Raises:
      SonnetValueError: the sequence is empty, arrays differ in T, or `sequence_length` is
        wrong.
    """
    xs, num_steps = _time_major("static_unroll", input_sequence)
    lengths = None if sequence_length is None else as_array(sequence_length)
    with in_a_frame():
        return _step_by_step(core, xs, num_steps, initial_state, lengths)


def dynamic_unroll(
    core: Core,
    input_sequence: Any,
    initial_state: Any,
    sequence_length: Any = None,
    parallel_iterations: int = 1,
    swap_memory: bool = False,
) -> tuple[Any, Any]:
    """Runs a core over a sequence in a loop of which one step is compiled.

    The first step runs before the loop: it creates the variables. Outside a transformed function,
    and outside `jax.jit`, the loop is one in Python, as in TensorFlow.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> core = snt.GRU(4)
    >>> xs, lengths = jnp.ones([3, 2, 5]), jnp.array([1, 3])
    >>> outputs, last = snt.dynamic_unroll(core, xs, core.initial_state(2), lengths)
    >>> outputs.shape, last.shape
    ((3, 2, 4), (2, 4))
    >>> bool((outputs[2, 0] == outputs[0, 0]).all())
    True

    Args:
      core: `core(inputs, state) -> (outputs, state)`, a core or any function.
      input_sequence: a pytree of arrays `[T, B, ...]`.
      initial_state: the state before the first step.
      sequence_length: how many steps each sequence has, `[B]`, or one number; None for all.
        After its end its outputs and its state stay as they were; outputs before any step are
        zeros. What has no axis goes on. The core still sees the padding, so that it must be finite
        to be differentiated.
      parallel_iterations: accepted and ignored: XLA decides.
      swap_memory: accepted and ignored. To save memory, wrap what the core does in `ps.remat`.

    Returns:
      The outputs, `[T, B, ...]`, and the state after the last step.

    Raises:
      SonnetValueError: the sequence is empty, arrays differ in T, or `sequence_length` is
        wrong.
      NewVariableError: a later step creates a variable that the first did not create.
    """
    del parallel_iterations, swap_memory
    xs, num_steps = _time_major("dynamic_unroll", input_sequence)
    lengths = None if sequence_length is None else as_array(sequence_length)
    with in_a_frame() as frame:
        if _is_eager(frame):
            return _step_by_step(core, xs, num_steps, initial_state, lengths)
        return _loop(frame, core, xs, num_steps, initial_state, lengths)


def _is_eager(frame: Frame) -> bool:
    """Whether all is computed at once, outside a transformed function, as in TensorFlow.

    A loop would be compiled again at each call there, which takes longer than hundreds of steps.
    """
    home = frame.home
    return frame is OUTSIDE.frame and not home.staged and not is_compiled_inside(home.trace)


def _step_by_step(
    core: Core, xs: Any, num_steps: int, initial_state: Any, lengths: Any
) -> tuple[Any, Any]:
    arrays, structure = jax.tree.flatten(xs)
    steps = [jnp.unstack(array) for array in arrays]
    outputs, state = None, initial_state
    collected: list[Any] = []
    for t in range(num_steps):
        inputs = jax.tree.unflatten(structure, [array[t] for array in steps])
        outputs, state = _step(core, t, inputs, lengths, outputs, state)
        collected.append(outputs)
    return jax.tree.map(lambda *parts: jnp.stack(parts), *collected), state


def _loop(
    frame: Frame, core: Core, xs: Any, num_steps: int, initial_state: Any, lengths: Any
) -> tuple[Any, Any]:
    """Runs the first step, which creates variables, and then a loop of the others."""
    inputs = jax.tree.map(lambda x: x[0], xs)
    first, state = _step(core, 0, inputs, lengths, None, initial_state)
    first = jax.tree.map(as_array, first)
    if num_steps == 1:
        return jax.tree.map(lambda y: y[None], first), state

    def body(carry: Any, each: Any) -> Any:
        outputs, state = carry
        t, inputs = each
        outputs, state = _step(core, t, inputs, lengths, outputs, state)
        # Outputs are carried only if they may be repeated.
        return (None if lengths is None else outputs, state), outputs

    each = (jnp.arange(1, num_steps), jax.tree.map(lambda x: x[1:], xs))
    carry = (None if lengths is None else first, jax.tree.map(as_array, state))
    (_, state), rest = _scan(frame, body, carry, each)
    outputs = jax.tree.map(lambda y, ys: jnp.concatenate([y[None], ys]), first, rest)
    return outputs, state


def _scan(frame: Frame, body: Any, carry: Any, each: Any) -> Any:
    """Runs the loop; its body may use the frame."""
    if frame is not OUTSIDE.frame:
        return scan(body, carry, each)
    if is_compiled_inside(frame.home.trace):
        # In a plain jax.jit nothing of the lasting frame may change, not even its keys. A core
        # that has variables says so itself.
        return lax.scan(body, carry, each)
    # The parameters of all modules outside stay out of the loop's carry.
    return scan(body, carry, each, collections={"params": "broadcast"})


def _time_major(what: str, input_sequence: Any) -> tuple[Any, int]:
    """Returns the sequence as arrays, and the number of steps."""
    xs = jax.tree.map(as_array, input_sequence)
    shapes = [x.shape for x in jax.tree.leaves(xs)]
    if not shapes or any(not shape for shape in shapes):
        raise SonnetValueError(
            f"`snt.{what}` needs an input_sequence of arrays [T, B, ...], but got"
            f" {'an array without axes' if shapes else 'an empty structure'}."
        )
    lengths = sorted({shape[0] for shape in shapes})
    if len(lengths) > 1:
        raise SonnetValueError(
            f"`snt.{what}` goes along the first axis of all arrays in input_sequence, the time, but"
            f" they have {' and '.join(map(str, lengths))} steps. Bring the time to the front,"
            " jnp.swapaxes(x, 0, 1), and cut or pad the arrays to one length."
        )
    if not lengths[0]:
        raise SonnetValueError(
            f"`snt.{what}` needs an input_sequence [T, B, ...] with at least one step; T is 0."
        )
    return xs, lengths[0]


def _step(
    core: Core, t: int | jax.Array, inputs: Any, lengths: Any, prev_outputs: Any, prev_state: Any
) -> tuple[Any, Any]:
    """Runs one step; after the end of a sequence its outputs and state stay as they were."""
    outputs, state = core(inputs, prev_state)
    if lengths is None:
        return outputs, state
    if prev_outputs is None:
        prev_outputs = jax.tree.map(jnp.zeros_like, outputs)
    ended = t >= lengths

    def keep(old: Any, new: Any) -> jax.Array:
        return _keep(ended, as_array(old), as_array(new))

    return jax.tree.map(keep, prev_outputs, outputs), jax.tree.map(keep, prev_state, state)


def _keep(ended: jax.Array, old: jax.Array, new: jax.Array) -> jax.Array:
    """Returns `old` for the sequences that have ended, and `new` for others and without a batch."""
    if not new.ndim:
        return new
    if ended.ndim == 1 and ended.shape == new.shape[:1]:
        ended = ended.reshape(ended.shape + (1,) * (new.ndim - 1))
    elif ended.ndim and ended.shape != new.shape:
        raise SonnetValueError(
            f"`sequence_length` has the shape {list(ended.shape)}, but the core returned an array"
            f" of the shape {list(new.shape)}. Give one length for each of the {new.shape[0]}"
            " sequences, or one number for all."
        )
    return jnp.where(ended, old, new)
