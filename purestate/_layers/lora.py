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
from purestate._core.hooks import CALL, ActiveHooks, GetterContext, Hook, MethodContext
from purestate._core.keyed_initializers import as_initializer
from purestate._core.rng import (
    maybe_get_rng_sequence_state,
    next_rng_key,
    replace_rng_sequence_state,
    with_rng,
)
from purestate._core.trace_guard import warn_user
from purestate._core.variables import Initializer
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.errors import LayerError, LoraWarning
from purestate._layers.group_norm import GroupNorm
from purestate._layers.initializers import truncated_fan_in
from purestate._layers.layer_norm import LayerNorm
from purestate._layers.linear import Bias, Linear
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._layers.recurrent.trainable_initial_state import TrainableInitialState
from purestate._layers.rms_norm import RMSNorm
from purestate._layers.weight_norm import WeightNorm, length, normalized
from purestate._ops.products import dot_general

_ACTIVE = "_has_lora"

# Modules whose parameters may have several axes, and yet are not weights.
_WITHOUT_WEIGHTS = (
    BatchNorm,
    Bias,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    TrainableInitialState,
    WeightNorm,
)
_NOT_WEIGHTS = ("b", "bias", "scale", "offset", "lora_a", "lora_b")


def _is_weight(context: GetterContext) -> bool:
    """Whether a parameter is a matrix, a kernel or a table: two or more axes longer than 1."""
    return (
        context.name not in _NOT_WEIGHTS
        and sum(size != 1 for size in context.original_shape) > 1
        and not isinstance(context.module, _WITHOUT_WEIGHTS)
    )


class _LoraBlock(ActiveHooks):
    """A `with ps.lora(...)` block; at its end it warns of the modules that it could not adapt."""

    def __init__(self, *hooks: Hook, adapted: set[str], weights: dict[str, str]):
        super().__init__(*hooks)
        self._adapted = adapted
        self._weights = weights

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        passed_over = [label for path, label in self._weights.items() if path not in self._adapted]
        self._adapted.clear()
        self._weights.clear()
        if passed_over and exc_info[0] is None:
            warn_user(
                f"`ps.lora` adapts Linear layers only. It passed over {', '.join(passed_over)},"
                " whose weights stay as they are. If that is right, leave them out: ps.lora(rank,"
                " predicate=lambda layer: isinstance(layer, ps.Linear)).",
                LoraWarning,
            )


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
    predicate: Callable[[Any], bool] | None = None,
    alpha: float | None = None,
    *,
    a_init: Initializer | None = None,
    param_dtype: DTypeLike | None = None,
) -> AbstractContextManager[None]:
    """Adds a product of two narrow matrices to each Linear layer that is called in the block.

    A layer's output gets `x @ lora_a @ lora_b * alpha / rank`. `lora_b` is zero at first, so that
    nothing changes, and the layer's own parameters have the names and values that they have
    without. Train the two alone, then `merge_lora` them. Hu et al. 2021, arXiv:2106.09685.

    Linear layers inside others, such as those of MultiHeadAttention and MLP, are adapted too. Other
    modules that have a matrix, a kernel or a table, such as convolutions, Embed and GRU, are not:
    at the end of the block a `LoraWarning` names them. The block may also be outside a transformed
    function, around `init` and `apply`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     with ps.lora(rank=2):
    ...         return ps.Linear(4)(x)
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'b': (4,), 'lora_a': (3, 2), 'lora_b': (2, 4), 'w': (3, 4)}}

    Args:
      rank: how narrow the matrices are.
      predicate: says for a module whether it is adapted: `lambda layer: layer.name == "query"`, or
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
    adapted: set[str] = set()
    weights: dict[str, str] = {}  # what to call the owner of a weight, by its path

    def is_requested(module: Any) -> bool:
        try:
            return predicate is None or predicate(module)
        except (AttributeError, TypeError):  # it asks for what only Linear layers have
            return False

    def note_weights(next_getter: Callable[[Any], Any], value: Any, context: GetterContext) -> Any:
        module = context.module
        if _is_weight(context) and not getattr(module, _ACTIVE, False) and is_requested(module):
            weights[context.module_name] = (
                f"parameter {context.name!r} outside of any module"
                if module is None
                else f"{type(module).__name__} {context.module_name!r}"
            )
        return next_getter(value)

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
        adapted.add(layer.module_name)
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
        added = dot_general(dot_general(x, a, None, precision), b, None, precision)
        return out + (added if scale == 1 else added * scale)

    key = ("lora", rank, predicate, alpha, a_init, param_dtype)
    hooks = Hook(CALL, interceptor, key), Hook(("get", "params"), note_weights, key)
    return _LoraBlock(*hooks, adapted=adapted, weights=weights)


def merge_lora(
    params: Mapping[str, Mapping[str, Any]],
    alpha: float | None = None,
    *,
    weight_norm_eps: float | None = None,
) -> Bundle:
    """Returns parameters for the network without `lora`, with what it learned added to the weights.

    >>> import jax.numpy as jnp, purestate as ps
    >>> a, b = jnp.ones([1, 2]), jnp.ones([2, 1])
    >>> params = {"linear": {"w": jnp.zeros([1, 1]), "lora_a": a, "lora_b": b}}
    >>> ps.merge_lora(params)["linear"]["w"].tolist()
    [[2.0]]

    Args:
      params: `{module: {name: array}}`; not changed.
      alpha: as for `lora`.
      weight_norm_eps: needed if layers were in a `ps.weight_norm` block too: its `eps`, 1e-12 by
        default. Such a layer multiplies with `w_g * w / ||w||`, so `w` and `w_g` both become new.

    Returns:
      New parameters, with `w + lora_a @ lora_b * alpha / rank` as `w`.

    Raises:
      LayerError: a module has only one of `lora_a` and `lora_b`, or no `w`; or its weight is
        normalized, and `weight_norm_eps` is None.
    """
    return {
        module: _merged(module, variables, alpha, weight_norm_eps)
        for module, variables in params.items()
    }


def _merged(
    module: str, variables: Mapping[str, Any], alpha: float | None, eps: float | None
) -> dict[str, Any]:
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
    for name in ("lora_a_g", "lora_b_g"):
        if name in variables:
            raise LayerError(
                f"merge_lora: {module!r} has {name}, so ps.weight_norm normalized {name[:-2]} too,"
                " and their product cannot be added to w. Train with a predicate that leaves out"
                " lora_a and lora_b, such as the default."
            )
    w, a, b = (jnp.asarray(variables[name]) for name in ("w", "lora_a", "lora_b"))
    added = jnp.matmul(a, b, precision="highest") * _scale(alpha, a.shape[-1])
    if "w_g" not in variables:
        rest["w"] = (w + added).astype(w.dtype)
        return rest
    if eps is None:
        raise LayerError(
            f"merge_lora: {module!r} has w_g, so it ran in a ps.weight_norm block and multiplies"
            " with w_g * w / ||w||. Adding to w would change that weight. Pass the eps of the"
            " block, to have w and w_g changed together: ps.merge_lora(params, alpha,"
            " weight_norm_eps=1e-12)."
        )
    g = _beside(module, jnp.asarray(variables["w_g"]), w)
    others = tuple(i for i in range(w.ndim - 2, w.ndim) if g.shape[i] == 1)
    weight = normalized(w, g, others, eps) + added
    rest["w"] = weight.astype(w.dtype)
    new_g = length(weight.astype(w.dtype), others, eps)
    rest["w_g"] = jnp.reshape(new_g, jnp.shape(variables["w_g"])).astype(g.dtype)
    return rest


def _beside(module: str, g: jax.Array, w: jax.Array) -> jax.Array:
    """Returns the lengths of a weight with all axes of the weight.

    They are given as `[..., outputs]`, or with ones for the other axes. The weights of a stack of
    layers have axes in front, and so have their lengths.
    """
    given = g.shape
    if g.ndim == w.ndim - 1:
        g = jnp.expand_dims(g, -2)
    if g.ndim != w.ndim or any(m not in (1, n) for m, n in zip(g.shape, w.shape, strict=True)):
        raise LayerError(
            f"merge_lora: {module!r} has w_g of shape {given}, which is not the length of w, of"
            f" shape {w.shape}. If it is a parameter of your own, take it out before you merge."
        )
    return g
