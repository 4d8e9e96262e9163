"""Rules as data: what to do with the modules that a pattern fits."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from purestate._core.errors import kind_of
from purestate._ops.attention_kernels import is_implementation
from purestate._ops.interception import OpInterceptor
from purestate._quantize.kinds import kind_named
from purestate._quantize.serving import kind_dtype
from purestate._rules.errors import RuleError

OPS = {
    "attention": "dot_product_attention",
    "conv": "conv_general_dilated",
    "conv_transpose": "conv_transpose",
    "dot": "dot_general",
    "embedding": "embedding_lookup",
    "moments": "moments",
    "normalize": "normalize",
}
"""The operations by the names that rules have for them."""


@dataclasses.dataclass(frozen=True, repr=False)
class Rule:
    """What to do with a module. Rules are data: they print, compare, and go into files.

    Attributes:
      kind: the name of the function that made it, such as `"freeze"`.
      options: what that function was given.
    """

    kind: str
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={_told(value)}" for name, value in self.options.items())
        return f"ps.rules.{self.kind}({options})"


def _told(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)


def freeze(frozen: bool = True) -> Rule:
    """Stops the gradients of the parameters of the modules, and of all modules in them.

    What a rule `lora` adds to them is still trained.

    >>> import purestate as ps
    >>> ps.rules.freeze()
    ps.rules.freeze()

    Args:
      frozen: False for modules within frozen ones that are trained after all.

    Returns:
      A rule.
    """
    return Rule("freeze", {} if frozen else {"frozen": False})


def remat(policy: str | Callable[..., bool] | None = None) -> Rule:
    """Computes the modules again for the gradient, instead of storing what they compute.

    >>> import purestate as ps
    >>> ps.rules.remat(policy="dots_saveable")
    ps.rules.remat(policy='dots_saveable')

    Args:
      policy: which results are stored after all: a function, or its name in
        `jax.checkpoint_policies`.

    Returns:
      A rule for calls of the modules that the pattern fits, and not of those within.

    Raises:
      RuleError: `jax.checkpoint_policies` lacks that name.
    """
    if isinstance(policy, str) and not hasattr(jax.checkpoint_policies, policy):
        names = [name for name in dir(jax.checkpoint_policies) if not name.startswith("_")]
        raise RuleError(
            f"ps.rules.remat(policy={policy!r}): jax.checkpoint_policies has no such function; it"
            f" has {', '.join(names)}."
        )
    return Rule("remat", {} if policy is None else {"policy": policy})


def precision(
    compute: DTypeLike, *, params: DTypeLike | None = None, output: DTypeLike | None = None
) -> Rule:
    """Has the modules, and all modules in them, compute in a floating point type.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.rules.precision(jnp.bfloat16)
    ps.rules.precision(compute='bfloat16')

    Args:
      compute: what arguments and variables are cast to.
      params: what new parameters are made as; None for float32.
      output: what results are cast to; None for `compute`.

    Returns:
      A rule. A module within that has a rule of its own follows that one.

    Raises:
      RuleError: one of them is not a floating point type.
    """
    names: dict[str, str] = {}
    for name, dtype in (("compute", compute), ("params", params), ("output", output)):
        if dtype is None and name != "compute":
            continue
        try:
            if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
                raise TypeError
        except TypeError:
            raise RuleError(
                f"ps.rules.precision: {name}={dtype!r} is not a floating point type, such as"
                " jnp.bfloat16 or 'bfloat16'."
            ) from None
        names[name] = jnp.dtype(dtype).name
    return Rule("precision", names)


def ops(**implementations: "OpInterceptor | DTypeLike") -> Rule:
    """Changes operations of the modules, and of all modules in them.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.rules.ops(attention="float32", normalize="float32")
    ps.rules.ops(attention='float32', normalize='float32')

    Args:
      **implementations: for an operation what to do with it: a dtype to compute it in, while its
        result keeps the dtype that it has without; or a function `(next_op, operands, context)`,
        see `intercept_ops`. For `attention` also the name of an implementation, such as "xla", or a
        function `(query, key, value, ...)`; see `ps.ops.attention_implementation`. The operations
        are `attention`, `conv`, `conv_transpose`, `dot`,
        `embedding`, `moments` and `normalize`.

    Returns:
      A rule.

    Raises:
      RuleError: an operation is unknown, or a value is neither a dtype nor a function.
    """
    for name, value in implementations.items():
        if name not in OPS:
            raise RuleError(f"ps.rules.ops({name}=...): the operations are {', '.join(OPS)}.")
        if name == "attention" and isinstance(value, str) and is_implementation(value):
            continue
        if not callable(value) or isinstance(value, type):
            try:
                implementations[name] = jnp.dtype(value).name
            except TypeError:
                raise RuleError(
                    f"ps.rules.ops({name}={value!r}): it takes a dtype, such as 'float32', or a"
                    " function (next_op, operands, context); attention also an implementation, see"
                    " ps.ops.attention_implementation."
                ) from None
    return Rule("ops", implementations)


def quantize(
    weights: DTypeLike, activations: DTypeLike | None = None, *, per: str | int = "channel"
) -> Rule:
    """Has the modules, and all modules in them, compute with quantized weights.

    Weights are quantized when they are read; those that `ps.quantize.weights` has quantized in the
    params are used as they are. Gradients pass through the rounding as if it were not there.

    >>> import purestate as ps
    >>> ps.rules.quantize("int8")
    ps.rules.quantize(weights='int8')

    Args:
      weights: "int8", "int4" or "float8_e4m3fn".
      activations: what inputs are quantized to; see `ps.quantize.serving`.
      per: which values share a scale; see `ps.quantize.weights`.

    Returns:
      A rule.

    Raises:
      QuantizeError: there is no product of such weights and activations.
    """
    options: dict[str, Any] = {"weights": jnp.dtype(kind_named(weights).dtype).name}
    if activations is not None:
        options["activations"] = kind_dtype(activations)
    return Rule("quantize", options if per == "channel" else {**options, "per": per})


def fp8_training(history: int = 16) -> Rule:
    """Trains the modules, and all modules in them, with products of float8.

    The scales are state; see `ps.quantize.fp8_training`.

    >>> import purestate as ps
    >>> ps.rules.fp8_training()
    ps.rules.fp8_training(history=16)

    Args:
      history: from how many of the last steps the scales come.

    Returns:
      A rule.
    """
    return Rule("fp8_training", {"history": history})


def axes(**names: tuple[str | None, ...]) -> Rule:
    """Names the axes of parameters, as `axes=` of `get_parameter` does; see `specs`.

    >>> import purestate as ps
    >>> ps.rules.axes(w=("embed", "mlp"))
    ps.rules.axes(w=('embed', 'mlp'))

    Args:
      **names: for a parameter a name for each of its axes, or None.

    Returns:
      A rule for the modules that the pattern fits, and not for those within.

    Raises:
      RuleError: the names of a parameter are not a tuple.
    """
    for name, value in names.items():
        if isinstance(value, str) or not isinstance(value, (tuple, list)):  # pyright: ignore
            raise RuleError(
                f"ps.rules.axes({name}={value!r}): it takes a name for each axis, such as"
                f" {name}=('embed', None)."
            )
        names[name] = tuple(value)
    return Rule("axes", names)


def out_sharding(spec: Any) -> Rule:
    """Says how the products of the modules are sharded, on a mesh with explicit axes.

    >>> import jax, purestate as ps
    >>> ps.rules.out_sharding(jax.P("data", None))
    ps.rules.out_sharding(spec=P('data', None))

    Args:
      spec: a `PartitionSpec`, or a tuple of its parts.

    Returns:
      A rule for the modules that the pattern fits, and not for those within. What a layer was given
      itself counts more.

    Raises:
      RuleError: it is neither.
    """
    if isinstance(spec, PartitionSpec):
        return Rule("out_sharding", {"spec": spec})
    if isinstance(spec, (tuple, list)):
        parts: list[Any] = [tuple(part) if isinstance(part, list) else part for part in spec]
        return Rule("out_sharding", {"spec": PartitionSpec(*parts)})
    raise RuleError(
        f"ps.rules.out_sharding takes a PartitionSpec, such as jax.P('data', None), but got"
        f" {kind_of(spec)}."
    )


def lora(rank: int, **options: Any) -> Rule:
    """Adds trained low-rank products to the weights of the modules, and of all modules in them.

    >>> import purestate as ps
    >>> ps.rules.lora(rank=8)
    ps.rules.lora(rank=8)

    Args:
      rank: see `ps.lora`.
      **options: see `ps.lora`.

    Returns:
      A rule.
    """
    return Rule("lora", {"rank": rank, **options})
