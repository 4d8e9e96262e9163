"""`fp8_training`: products of float8 with delayed scaling."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from purestate._core.frame import get_frame
from purestate._core.hooks import OPERATION, ActiveHooks, Hook
from purestate._core.variables import get_state, set_state
from purestate._editing.predicates import glob
from purestate._lifted.collection_modes import QUANTIZE
from purestate._ops.interception import OpContext
from purestate._quantize.amax import amax_name, amax_of, check_is_there, weight_among
from purestate._quantize.errors import QuantizeError
from purestate._quantize.kinds import KINDS, rounded, scales_for
from purestate._state.named_variables import is_mutable

_FORWARD, _BACKWARD = KINDS["float8_e4m3fn"], KINDS["float8_e5m2"]


def _through(x: jax.Array, scale: jax.Array, kind: Any) -> jax.Array:
    """Rounds to float8 and back. XLA makes a product of float8 of a product of two such arrays."""
    return (rounded(x, scale, kind).astype(jnp.float32) * scale).astype(x.dtype)


@jax.custom_jvp
def _operand(x: jax.Array, scale: jax.Array) -> jax.Array:
    """An operand in float8; its gradient is that of the operand as it was."""
    return _through(x, scale, _FORWARD)


@_operand.defjvp
def _operand_jvp(primals: Any, tangents: Any) -> Any:
    return _operand(*primals), tangents[0]


@jax.custom_vjp
def _result(y: jax.Array) -> jax.Array:
    """A result as it is; its gradient is in float8."""
    return y


def _result_forward(y: jax.Array) -> tuple[jax.Array, None]:
    return y, None


def _result_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    scale = scales_for(amax_of(gradient), _BACKWARD)
    return (_through(gradient, scale, _BACKWARD),)


_result.defvjp(_result_forward, _result_backward)


@dataclasses.dataclass(frozen=True)
class Fp8Training:
    """The interceptor. Two with the same options are equal, so that JAX traces once for both."""

    computes: ClassVar[bool] = True  # see `intercepted`

    history: int
    only: str | None

    def __call__(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext
    ) -> Any:
        weight = weight_among(context.op, operands, context.params)
        if weight is None or (self.only is not None and not glob(self.only)(context.path, None)):
            return next_op(*operands)
        name = amax_name(weight, "_history")
        check_is_there(name, context, "ps.quantize.fp8_training()")
        seen = get_state(name, (2, self.history), jnp.float32, jnp.zeros, collection=QUANTIZE)
        if seen.shape != (2, self.history):
            raise QuantizeError(
                f"The state {name!r} of {context.path!r} has a history of {seen.shape[-1]} steps,"
                f" and ps.quantize.fp8_training(history={self.history}) was entered. Write"
                f" history={seen.shape[-1]}, or make the state with `init` again."
            )
        now = jnp.stack([amax_of(operand) for operand in operands])
        largest = jnp.max(seen, axis=1)
        # Before the first step nothing was seen, and the arrays themselves say how large they are.
        scales = scales_for(jnp.where(largest > 0, largest, now), _FORWARD)
        if is_mutable(QUANTIZE):
            set_state(name, _seen_with(seen, now, context.path, name), collection=QUANTIZE)
        return _result(next_op(*map(_operand, operands, scales)))


def _seen_with(seen: jax.Array, now: jax.Array, path: str, name: str) -> jax.Array:
    """Returns a history that begins with this step.

    A weight that is used several times in a step, as in a loop over time, has one place in it: the
    first use makes it, and the others raise it.
    """
    ledger = get_frame("`ps.quantize.fp8_training`").ledger
    fact = ("fp8_training", path, name)
    if fact in ledger.built:
        return seen.at[:, 0].max(now)
    ledger.built[fact] = True
    return jnp.concatenate([now[:, None], seen[:, :-1]], axis=1)


def fp8_training(*, history: int = 16, only: str | None = None) -> AbstractContextManager[None]:
    """Trains with products of float8, inside the `with` block.

    Input and weight of each `dot_general` and convolution are rounded to float8_e4m3fn, and the
    gradient of its result to float8_e5m2 (Micikevicius et al. 2022, arXiv:2209.05433). Parameters
    keep their dtype. The scales of input and weight are delayed: they come from the largest values
    of the last steps. These are state, in the collection "quantize", which goes through `vmap`,
    `scan` and `shard_map` as "max", so that a step has one place in it. The scale of a gradient
    comes from the gradient itself.

    On a GPU with float8, XLA makes one product of float8 of the roundings and the product. On other
    devices the numbers are the same, and the product is one of the arrays' own dtype.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> def loss(params, state, x):
    ...     out, state = f.apply(params, state, None, x)
    ...     return jnp.sum(out ** 2), state
    >>> with ps.quantize.fp8_training(history=4):
    ...     params, state = f.init(jax.random.key(0), x)
    ...     gradient, state = jax.jit(jax.grad(loss, has_aux=True))(params, state, 3 * x)
    >>> state["linear"]["quantize_amax_history_w"][0].tolist()
    [3.0, 0.0, 0.0, 0.0]

    Args:
      history: from how many of the last steps the scales come.
      only: a glob of module paths, such as `"decoder/*"`: the modules that compute in float8; None
        for all.

    Returns:
      A context manager, to be used around `init` and `apply`, or inside a model.

    Raises:
      QuantizeError: `history` is below 1; and when the model runs: the state given to `apply` was
        made outside the block, or with another length.
    """
    if history < 1:
        raise QuantizeError(
            f"ps.quantize.fp8_training(history={history}): scales come from 1 or more steps."
        )
    return ActiveHooks(Hook(OPERATION, Fp8Training(history, only)))
