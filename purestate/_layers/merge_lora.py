"""Adding what `ps.lora` learned to the weights themselves."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.collection import Bundle
from purestate._editing.lora_names import lora_name, parse_lora_name
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.lora_settings import lora_scale
from purestate._layers.low_rank import product, split_of, with_magnitude
from purestate._layers.weight_norm import length, normalized


def merge_lora(
    params: Mapping[str, Mapping[str, Any]],
    alpha: float | None = None,
    *,
    weight_norm_eps: float | None = None,
    rank_stabilized: bool = False,
    adapter: str | None = None,
) -> Bundle:
    """Returns parameters for the network without `lora`, with what it learned added to the weights.

    The parameters of other adapters are left out.

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
      rank_stabilized: as for `lora`.
      adapter: the name of the adapter to merge; None for the one without a name.

    Returns:
      New parameters, with `w + lora_a @ lora_b * alpha / rank` as `w`, and with DoRA of the length
      `lora_m`.

    Raises:
      LayerError: a module has only one of `lora_a` and `lora_b`, or no such weight, or one of
        another shape; or its weight is normalized, and `weight_norm_eps` is None; or there are
        adapters, but not that one.
    """
    parsed = [parse_lora_name(name) for variables in params.values() for name in variables]
    there = {name.adapter for name in parsed if name is not None}
    if adapter not in there and (there or adapter is not None):
        named = sorted("one without a name" if x is None else repr(x) for x in there) or ["none"]
        raise LayerError(
            f"merge_lora: these params do not have the adapter {adapter!r}. In them:"
            f" {', '.join(named)}. Pass the name that `ps.lora` received, as in"
            ' ps.merge_lora(params, alpha, adapter="french"); leave it out for one without a name.'
        )
    check_bool("ps.merge_lora", "rank_stabilized", rank_stabilized)
    return {
        module: _merged(module, variables, alpha, weight_norm_eps, rank_stabilized, adapter)
        for module, variables in params.items()
    }


def _merged(
    module: str,
    variables: Mapping[str, Any],
    alpha: float | None,
    eps: float | None,
    rank_stabilized: bool,
    adapter: str | None,
) -> dict[str, Any]:
    merged = {name: value for name, value in variables.items() if parse_lora_name(name) is None}
    parsed = [parse_lora_name(name) for name in variables]
    for weight in sorted({p.weight for p in parsed if p is not None and p.adapter == adapter}):
        w, a, b, m = _parts(module, variables, weight, adapter)
        split = split_of(w.shape, a.shape, b.shape, None if m is None else m.shape)
        if split is None:
            raise LayerError(
                f"merge_lora: {module!r} has {weight} of shape {w.shape}, which"
                f" {lora_name(weight, adapter, 'a')} of {a.shape} and"
                f" {lora_name(weight, adapter, 'b')} of {b.shape} do not fit. Merge the parameters"
                " as they were trained, all stacked or none."
            )
        added = product(split, a, b) * lora_scale("merge_lora", alpha, a.shape[-1], rank_stabilized)

        def changed(w: jax.Array, added: jax.Array = added, m: jax.Array | None = m) -> jax.Array:
            return w + added if m is None else with_magnitude(w + added, m)

        merged |= _with_length(module, weight, variables, changed, eps)
    return merged


def _parts(
    module: str, variables: Mapping[str, Any], weight: str, adapter: str | None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Returns the weight and the parts of its adapter; raises unless all are there."""
    a, b, m = (lora_name(weight, adapter, part) for part in ("a", "b", "m"))
    missing = {weight, a, b} - variables.keys()
    if missing:
        raise LayerError(
            f"merge_lora: {module!r} has {', '.join(variables)}, but not"
            f" {' and '.join(sorted(missing))}. Put the two of lora and the parameters that it was"
            " trained beside together first, with ps.data_structures.merge."
        )
    for name in (f"{a}_g", f"{b}_g", f"{m}_g"):
        if name in variables:
            raise LayerError(
                f"merge_lora: {module!r} has {name}, so ps.weight_norm normalized {name[:-2]} too,"
                f" and their product cannot be added to {weight}. Train with a predicate that"
                f" leaves out {a} and {b}, such as the default."
            )
    w, a, b = (jnp.asarray(variables[name]) for name in (weight, a, b))
    return w, a, b, jnp.asarray(variables[m]) if m in variables else None


def _with_length(
    module: str, weight: str, variables: Mapping[str, Any], changed: Any, eps: float | None
) -> dict[str, jax.Array]:
    """Returns the changed weight, and its length if it is normalized."""
    w = jnp.asarray(variables[weight])
    if f"{weight}_g" not in variables:
        return {weight: changed(w).astype(w.dtype)}
    if eps is None:
        raise LayerError(
            f"merge_lora: {module!r} has {weight}_g, so it ran in a ps.weight_norm block and"
            f" multiplies with {weight}_g * {weight} / ||{weight}||. Adding to {weight} would"
            f" change that weight. Pass the eps of the block, to have both changed"
            " together: ps.merge_lora(params, alpha, weight_norm_eps=1e-12)."
        )
    given = jnp.asarray(variables[f"{weight}_g"])
    g = _beside(module, weight, given, w)
    others = tuple(i for i, n in enumerate(g.shape) if n == 1)
    new = changed(normalized(w, g, others, eps))
    new_g = length(new.astype(w.dtype), others, eps)
    return {
        weight: new.astype(w.dtype),
        f"{weight}_g": jnp.reshape(new_g, given.shape).astype(given.dtype),
    }


def _beside(module: str, weight: str, g: jax.Array, w: jax.Array) -> jax.Array:
    """Returns the lengths of a weight with all axes of the weight.

    They are given as `[C]` along its last axis, or with ones for the others. The weights of a stack
    of layers have axes in front, and so have their lengths.
    """
    given = g.shape
    if 0 < g.ndim < w.ndim:
        g = jnp.reshape(g, (*given[:-1], *(1,) * (w.ndim - g.ndim), given[-1]))
    if g.ndim != w.ndim or any(m not in (1, n) for m, n in zip(g.shape, w.shape, strict=True)):
        raise LayerError(
            f"merge_lora: {module!r} has {weight}_g of shape {given}, which is not the length of"
            f" {weight}, of shape {w.shape}. If it is a parameter of your own, take it out before"
            " you merge."
        )
    return g
