"""`calibrate`: the largest input of each product, as state."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax.numpy as jnp

from purestate._core.hooks import OPERATION, ActiveHooks, Hook
from purestate._core.variables import get_state, set_state
from purestate._lifted.collection_modes import QUANTIZE
from purestate._ops.interception import OpContext
from purestate._quantize.amax import amax_name, amax_of, check_is_there, weight_among


def _calibrate(next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext) -> Any:
    weight = weight_among(context.op, operands, context.params)
    if weight is not None:
        name = amax_name(weight)
        check_is_there(name, context, "ps.quantize.calibrate()")
        before = get_state(name, (), jnp.float32, jnp.zeros, collection=QUANTIZE)
        x = operands[1 - context.params[weight]]
        set_state(name, jnp.maximum(before, amax_of(x)), collection=QUANTIZE)
    return next_op(*operands)


def calibrate() -> AbstractContextManager[None]:
    """Collects the largest input of each product with a weight, inside the `with` block.

    They are state of the modules, in the collection "quantize", which goes through `vmap`, `scan`
    and `shard_map` as "max". `init` makes them, and each `apply` inside the block raises them to
    what it sees. `serving(activations="int8", calibrated=True)` takes its scales from them.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    >>> with ps.quantize.calibrate():
    ...     params, state = f.init(jax.random.key(0), jnp.ones([1, 3]))
    ...     for x in ([[1.0, -4.0, 2.0]], [[0.5, 3.0, 1.0]]):
    ...         _, state = f.apply(params, state, None, jnp.array(x))
    >>> float(state["linear"]["quantize_amax_w"])
    4.0

    Returns:
      A context manager.

    Raises:
      QuantizeError: when the model runs: the state given to `apply` was made outside the block.
    """
    return ActiveHooks(Hook(OPERATION, _calibrate))
