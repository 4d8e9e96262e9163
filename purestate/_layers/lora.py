"""LoRA: training a few parameters beside those of a network that is kept as it is."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.collection import Bundle
from purestate._core.current import current_name
from purestate._core.hooks import CALL, ActiveHooks, Hook, MethodContext
from purestate._core.keyed_initializers import as_initializer
from purestate._core.rng import (
    maybe_get_rng_sequence_state,
    next_rng_key,
    replace_rng_sequence_state,
    with_rng,
)
from purestate._core.variables import Initializer
from purestate._layers.errors import LayerError
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.linear import Linear
from purestate._layers.param_dtype import get_parameter_kept_in

_ACTIVE = "_has_lora"


def _drawn_aside(init: Any) -> Initializer:
    """Has `init` draw from a key of its own.

    All other parameters get the values that they get without it.
    """
    init = as_initializer(init)

    def draw(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        before = maybe_get_rng_sequence_state()
        key = jax.random.fold_in(next_rng_key(), zlib.crc32(current_name().encode()))
        if before is not None:
            replace_rng_sequence_state(before)
        with with_rng(key):
            return init(shape, dtype)

    return draw


def _scale(alpha: float | None, rank: int) -> float:
    return 1.0 if alpha is None else alpha / rank


def lora(
    rank: int,
    predicate: Callable[[Linear], bool] | None = None,
    alpha: float | None = None,
    *,
    a_init: Initializer | None = None,
    param_dtype: DTypeLike | None = None,
) -> AbstractContextManager[None]:
    """Adds a product of two narrow matrices to each Linear layer that is called inside the `with` block.

    A layer's output gets `x @ lora_a @ lora_b * alpha / rank`. `lora_b` is zero at first, so that
    nothing changes, and the layer's own parameters have the names and values that they have
    without. Train the two alone, then `merge_lora` them. Hu et al. 2021, arXiv:2106.09685.

    Linear layers inside others, such as those of MultiHeadAttention and MLP, are adapted too. May
    be used outside a transformed function too, around `init` and `apply`; under `jax.jit` inside
    what is compiled.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     with ps.lora(rank=2):
    ...         return ps.Linear(4)(x)
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (4,), 'lora_a': (3, 2), 'lora_b': (2, 4), 'w': (3, 4)}}

    Args:
      rank: how narrow the matrices are.
      predicate: says for a layer whether it is adapted: `lambda layer: layer.name == "query"`, or
        by its `module_name`; None for all.
      alpha: how much of it is added; None for `rank`, with which the factor is 1.
      a_init: the initializer of `lora_a`; None for a truncated normal of stddev `1 / sqrt(inputs)`.
      param_dtype: the dtype of the two; None for that of the input.

    Returns:
      A context manager.

    Raises:
      LayerError: `rank` is less than 1, or a layer is adapted twice.
    """
    if rank < 1:
        raise LayerError(f"lora: rank has to be at least 1, got {rank}.")
    scale = _scale(alpha, rank)
    new_a = _drawn_aside(a_init or truncated_fan_in)

    def interceptor(
        next_method: Callable[..., Any], args: Any, kwargs: Any, context: MethodContext
    ) -> Any:
        layer = context.module
        # The class that defines the method: a subclass may call it from its own.
        is_linear = context.orig_class is Linear and context.method_name == "__call__"
        if not is_linear or (predicate is not None and not predicate(layer)):
            return next_method(*args, **kwargs)
        if getattr(layer, _ACTIVE, False):
            raise LayerError(
                f"lora: Linear {layer.module_name!r} is in two `with ps.lora(...)` blocks, which"
                " would share lora_a and lora_b; give each a predicate that leaves it to the"
                " other."
            )
        setattr(layer, _ACTIVE, True)
        try:
            out = next_method(*args, **kwargs)
        finally:
            setattr(layer, _ACTIVE, False)
        x = jnp.asarray(args[0] if args else kwargs["inputs"])
        precision = kwargs.get("precision")
        a = get_parameter_kept_in(param_dtype, "lora_a", (x.shape[-1], rank), x.dtype, new_a)
        b = get_parameter_kept_in(
            param_dtype, "lora_b", (rank, layer.output_size), x.dtype, jnp.zeros
        )
        added = jnp.dot(jnp.dot(x, a, precision=precision), b, precision=precision)
        return out + (added if scale == 1 else added * scale)

    key = ("lora", rank, predicate, alpha, a_init, param_dtype)
    return ActiveHooks(Hook(CALL, interceptor, key))


def merge_lora(params: Mapping[str, Mapping[str, Any]], alpha: float | None = None) -> Bundle:
    """Returns parameters for the network without `lora`, in which what it learned is part of the weights.

    >>> import jax.numpy as jnp, purestate as ps
    >>> params = {"linear": {"w": jnp.zeros([1, 1]), "lora_a": jnp.ones([1, 2]), "lora_b": jnp.ones([2, 1])}}
    >>> ps.merge_lora(params)["linear"]["w"].tolist()
    [[2.0]]

    Args:
      params: `{module: {name: array}}`; not changed.
      alpha: as for `lora`.

    Returns:
      New parameters, with `w + lora_a @ lora_b * alpha / rank` as `w`.

    Raises:
      LayerError: a module has only one of `lora_a` and `lora_b`, or no `w`.
    """
    return {module: _merged(module, variables, alpha) for module, variables in params.items()}


def _merged(module: str, variables: Mapping[str, Any], alpha: float | None) -> dict[str, Any]:
    rest = {name: value for name, value in variables.items() if name not in ("lora_a", "lora_b")}
    missing = {"w", "lora_a", "lora_b"} - variables.keys()
    if len(rest) == len(variables):
        return rest
    if missing:
        raise LayerError(
            f"merge_lora: {module!r} has {', '.join(variables)}, but not"
            f" {' and '.join(sorted(missing))}. Put the two of lora and the parameters that it was"
            " trained beside together first, with ps.data_structures.merge."
        )
    w, a, b = (jnp.asarray(variables[name]) for name in ("w", "lora_a", "lora_b"))
    added = jnp.matmul(a, b, precision="highest") * _scale(alpha, a.shape[-1])
    rest["w"] = (w + added).astype(w.dtype)
    return rest
