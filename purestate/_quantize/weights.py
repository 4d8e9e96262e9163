"""`weights`: params with quantized arrays in the place of weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.collection import Bundle
from purestate._core.outlines import outline_argument
from purestate._core.path import variable_path
from purestate._editing.predicates import as_predicate, glob
from purestate._quantize.array import QuantizedArray, quantize_array
from purestate._quantize.errors import QuantizeError
from purestate._quantize.kinds import kind_named

_WEIGHTS = ("int8", "int4", "float8_e4m3fn")
_NOT_WEIGHTS = ("b", "bias", "scale", "offset")
_STACKED = "__layer_stack"


def weights(
    params: Mapping[str, Mapping[str, Any]],
    dtype: DTypeLike = "int8",
    predicate: Callable[..., Any] | None = None,
    per: str | int = "channel",
    *,
    axes: Mapping[str, Sequence[int]] | None = None,
) -> Bundle:
    """Returns params with a `QuantizedArray` in the place of each weight.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([64, 10])(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 32]))
    >>> small = ps.quantize.weights(params, "int4", per=16)
    >>> small["mlp/~/linear_0"]["w"].scales.shape
    (2, 64)
    >>> ps.quantize.bytes_of(params), ps.quantize.bytes_of(small)
    (11048, 2312)

    Args:
      params: `{module: {name: array}}`.
      dtype: "int8", "int4" or "float8_e4m3fn".
      predicate: `predicate(module, name, value)`, or one of `ps.surgery`: which parameters to
        quantize. By default matrices, kernels and tables: those with two or more axes longer than
        1, without biases and what norms have.
      per: "channel" for a scale for each output channel (of an embedding table, for each id), or
        the size of groups of inputs that share a scale for each output channel.
      axes: `{glob: axes}`: the axes along which a parameter shares a scale (with groups: the one
        axis that they are along), if the layout of its layer is another one. The default is all but
        the last axis; of a table "embeddings" the last; of a transposed convolution all but the
        last but one; and never the first axis of `layer_stack`. With groups it is the one of these
        closest to the end.

    Returns:
      New params; all other arrays are shared.

    Raises:
      QuantizeError: there is nothing to quantize, or a parameter cannot be quantized so.
    """
    name_of_dtype = jnp.dtype(kind_named(dtype, _WEIGHTS).dtype).name
    _check_per(per)
    holds = is_weight if predicate is None else as_predicate(predicate)
    out: Bundle = {}
    found = 0
    for module, bundle in params.items():
        if not hasattr(bundle, "items"):
            raise QuantizeError(
                "`ps.quantize.weights` takes params, {module: {name: array}}, but got"
                f" {outline_argument(bundle)} for the module {module!r}."
            )
        out[module] = dict(bundle)
        for name, value in bundle.items():
            if holds(module, name, value):
                out[module][name] = _one(module, name, value, name_of_dtype, per, axes or {})
                found += 1
    if not found:
        raise QuantizeError(
            "`ps.quantize.weights` found no parameter to quantize. Pass params, {module: {name:"
            " array}}, with matrices, or a predicate that holds for some of them."
        )
    return out


def _check_per(per: str | int) -> None:
    if per != "channel" and (isinstance(per, (str, bool)) or per < 1):
        raise QuantizeError(
            f"`per` is 'channel' or the size of a group, such as 64, but is {per!r}."
        )


def is_weight(module: str, name: str, value: Any) -> bool:
    return (
        name not in _NOT_WEIGHTS
        and hasattr(value, "dtype")
        and not isinstance(value, QuantizedArray)
        and jnp.issubdtype(value.dtype, jnp.floating)
        and sum(size > 1 for size in value.shape[_layers(module) :]) > 1
    )


def _layers(module: str) -> int:
    """How many leading axes of the parameters of a module are layers of a stack."""
    return sum(part.startswith(_STACKED) for part in module.split("/"))


def _one(
    module: str, name: str, value: Any, dtype: str, per: str | int, axes: Mapping[str, Any]
) -> QuantizedArray:
    path = variable_path(module, name)
    if isinstance(value, QuantizedArray):
        raise QuantizeError(
            f"{path!r} is quantized already, to {value.values.dtype}. Quantize the params that it"
            " was made of, or leave it out with a predicate."
        )
    given = [shared for pattern, shared in axes.items() if glob(pattern)(path, value)]
    shape: tuple[int, ...] = jnp.shape(value)
    shared = tuple(given[0]) if given else _shared_axes(module, name, len(shape))
    try:
        if per == "channel":
            return quantize_array(value, dtype, shared)
        if not shared:
            raise QuantizeError(f"It has shape {shape}, and so no axis to form groups along.")
        return quantize_array(value, dtype, shared[-1], int(per))
    except QuantizeError as error:
        raise QuantizeError(
            f"{path!r} cannot be quantized. {error} Or leave it out: predicate="
            f"ps.surgery.glob('*/{name}') & ~ps.surgery.glob({path!r})."
        ) from None


def _shared_axes(module: str, name: str, ndim: int) -> tuple[int, ...]:
    first = _layers(module)
    if name == "embeddings":
        return (ndim - 1,)
    own = 2 if "transpose" in module.rpartition("/")[2] else 1
    return tuple(axis for axis in range(first, ndim) if axis != ndim - own)


def bytes_of(tree: Any) -> int:
    """Returns the bytes that the arrays of a tree take in a file, or on a GPU or a TPU.

    Like `ps.data_structures.tree_bytes`, but two values of int4 are one byte. On a CPU, XLA and
    NumPy keep one byte for each.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = jnp.ones([16, 4])
    >>> ps.quantize.bytes_of(x), ps.quantize.bytes_of(ps.quantize.quantize_array(x, "int4", axis=0))
    (256, 48)

    Args:
      tree: any pytree of arrays.

    Returns:
      The sum of their sizes in bytes.
    """
    return sum(-(-math.prod(leaf.shape) * _bits(leaf.dtype) // 8) for leaf in jax.tree.leaves(tree))


def _bits(dtype: Any) -> int:
    try:
        return jnp.iinfo(dtype).bits
    except ValueError:
        return jnp.dtype(dtype).itemsize * 8
