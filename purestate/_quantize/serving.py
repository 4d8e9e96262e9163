"""`serving`: running a model with quantized weights."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.hooks import OPERATION, ActiveHooks, Hook
from purestate._core.parameters_read import stored_form
from purestate._core.variables import get_state
from purestate._editing.predicates import glob
from purestate._lifted.collection_modes import QUANTIZE
from purestate._ops.interception import OpContext
from purestate._quantize.amax import amax_name, check_is_there, weight_among
from purestate._quantize.array import QuantizedArray
from purestate._quantize.errors import QuantizeError
from purestate._quantize.kinds import Kind, kind_named
from purestate._quantize.products import PRODUCTS, looked_up, product_of, quantized, weight_only

_ACTIVATIONS = ("int8", "float8_e4m3fn")


@dataclasses.dataclass(frozen=True)
class Serving:
    """The interceptor. Two with the same options are equal, so that JAX traces once for both."""

    computes: ClassVar[bool] = True  # see `intercepted`

    activations: str | None
    calibrated: bool
    only: str | None

    def __call__(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext
    ) -> Any:
        stored = {i: stored_form(operand) for i, operand in enumerate(operands)}
        found = [i for i, form in stored.items() if isinstance(form, QuantizedArray)]
        if len(found) != 1:
            return next_op(*operands)
        weight = found[0]
        if context.op == "embedding_lookup" and weight == 0:
            return looked_up(next_op, operands[1], operands[0], stored[0])
        if context.op not in PRODUCTS or (context.op != "dot_general" and weight != 1):
            return next_op(*operands)
        x, w = operands[1 - weight], operands[weight]
        product = product_of(context.op, (operands[0], operands[1]), weight, context.options)
        kind = self._kind(stored[weight], x, context)
        if kind is not None:
            amax = self._amax(operands, context)
            out = quantized(product, x, w, stored[weight], kind, amax)
            if out is not None:
                return out
        return weight_only(next_op, product, x, w, stored[weight])

    def _kind(self, stored: QuantizedArray, x: Any, context: OpContext) -> Kind | None:
        """What to quantize the input to; None to leave it as it is."""
        if self.activations is None or not jnp.issubdtype(x.dtype, jnp.floating):
            return None
        if self.only is not None and not glob(self.only)(context.path, None):
            return None
        kind = kind_named(self.activations)
        of_weight = kind_named(stored.values.dtype)
        if kind.is_integer != of_weight.is_integer:
            fitting = "int8" if of_weight.is_integer else "float8_e4m3fn"
            raise QuantizeError(
                f"The weight of {context.op!r} in {context.path!r} is stored as"
                f" {stored.values.dtype}, which has no product with activations of"
                f" {self.activations!r}. Write ps.quantize.serving(activations={fitting!r})."
            )
        return kind

    def _amax(self, operands: tuple[Any, ...], context: OpContext) -> jax.Array | None:
        weight = weight_among(context.op, operands, context.params)
        if not self.calibrated or weight is None:
            return None
        name = amax_name(weight)
        check_is_there(name, context, "ps.quantize.calibrate()")
        return get_state(name, (), jnp.float32, jnp.zeros, collection=QUANTIZE)


def serving(
    activations: DTypeLike | None = None, *, calibrated: bool = False, only: str | None = None
) -> AbstractContextManager[None]:
    """Has a model compute with its quantized weights, inside the `with` block.

    A model that was given a `QuantizedArray` for a parameter runs without the block too: it then
    reads the dequantized array, and computes as it always does. Inside the block `dot_general`,
    convolutions and `embedding_lookup` multiply the values of the weight, and apply its scales to
    the result. All else that uses the weight gets the dequantized array.

    With `activations` the input of each such product is quantized too, and the product is one of
    integers, summed in int32 (of float8, in float32). Gradients pass through the rounding as if
    it were not there.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([64, 10])(x))
    >>> x = jax.random.normal(jax.random.key(0), [4, 32])
    >>> params = f.init(jax.random.key(1), x)
    >>> small = ps.quantize.weights(params, "int8")
    >>> with ps.quantize.serving(activations="int8"):
    ...     out = jax.jit(f.apply)(small, None, x)
    >>> bool(jnp.allclose(out, f.apply(params, None, x), atol=0.05))
    True

    Args:
      activations: what inputs are quantized to: "int8" for weights of integers, "float8_e4m3fn" for
        those of float8; None for not at all.
      calibrated: whether the scale of an input comes from the state that `calibrate` has collected.
        If not, it comes from the input itself: one scale for each input `[D]` of a matrix.
      only: a glob of module paths, such as `"decoder/*"`: the modules whose inputs are quantized;
        None for all.

    Returns:
      A context manager, to be used around `init`, `apply`, a compiled function, or inside a model.

    Raises:
      QuantizeError: inputs cannot be quantized to such a dtype; and when the model runs: the dtype
        of a weight does not go with it, or the state has no calibration.
    """
    name = None if activations is None else kind_dtype(activations)
    if calibrated and name is None:
        raise QuantizeError(
            "ps.quantize.serving(calibrated=True) quantizes inputs by a calibration, but"
            " `activations` is None. Write ps.quantize.serving(activations='int8',"
            " calibrated=True)."
        )
    return ActiveHooks(Hook(OPERATION, Serving(name, calibrated, only)))


def kind_dtype(activations: DTypeLike) -> str:
    """Returns the name of a dtype that inputs can be quantized to."""
    return jnp.dtype(kind_named(activations, _ACTIVATIONS).dtype).name
