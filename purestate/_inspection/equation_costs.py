"""What one equation costs: its operations on floats, and the bytes it reads and writes."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from purestate._core.equations import is_literal

_MOVES = {
    "all_gather", "all_to_all", "bitcast_convert_type", "broadcast_in_dim", "concatenate",
    "convert_element_type", "copy", "copy_p", "device_put", "dynamic_slice",
    "dynamic_update_slice", "empty", "empty2", "full", "gather", "iota", "name",
    "optimization_barrier", "pad", "ppermute", "pvary", "random_bits", "random_wrap",
    "reduce_precision", "reshape", "rev", "scatter", "select_n", "sharding_constraint", "slice",
    "sort", "split", "squeeze", "stop_gradient", "transpose",
}  # fmt: skip
# Their costs are not in the jaxpr, or take more than a look at shapes.
UNKNOWN = {
    "cholesky", "custom_linear_solve", "eig", "eigh", "fft", "ffi_call", "io_callback", "lu",
    "pallas_call", "pure_callback", "householder_product", "schur", "svd", "triangular_solve",
    "tridiagonal_solve",
}  # fmt: skip


def _flops_of_product(eqn: Any) -> int:
    (summed, _), _ = eqn.params["dimension_numbers"]
    lhs, out = eqn.invars[0].aval, eqn.outvars[0].aval
    return 2 * math.prod(out.shape) * math.prod(lhs.shape[axis] for axis in summed)


def _flops_of_ragged_product(eqn: Any) -> int:
    return 2 * math.prod(eqn.invars[0].aval.shape) * eqn.outvars[0].aval.shape[-1]


def _flops_of_convolution(eqn: Any) -> int:
    kernel, out = eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
    # The kernel has the inputs of one group. Between inputs that are dilated there is nothing.
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    seen = math.prod(kernel) // max(features, 1)
    return 2 * math.prod(out) * seen // math.prod(eqn.params["lhs_dilation"])


PRODUCTS: dict[str, Callable[[Any], int]] = {
    "dot_general": _flops_of_product,
    "ragged_dot_general": _flops_of_ragged_product,
    "conv_general_dilated": _flops_of_convolution,
}


def flops_of_others(eqn: Any) -> int:
    """The operations on floats of all equations but products."""
    name = eqn.primitive.name
    if name in _MOVES:
        return 0
    out = sum(_size(var) for var in eqn.outvars if _is_float(var))
    if "window_dimensions" in eqn.params:
        return out * math.prod(eqn.params["window_dimensions"])
    if name.startswith("reduce_"):
        return sum(_size(var) for var in eqn.invars) if out else 0
    if name.startswith("scatter"):
        return _size(eqn.invars[2]) if out else 0
    return out


def bytes_of(eqn: Any) -> int:
    """The size of operands and results; of a big array of which a part is used, of that part."""
    name = eqn.primitive.name
    results = sum(_bytes_in(var) for var in eqn.outvars)
    operands = [0 if is_literal(var) else _bytes_in(var) for var in eqn.invars]
    if name in ("gather", "dynamic_slice"):
        return sum(operands[1:]) + 2 * results
    if name == "dynamic_update_slice":
        return 2 * operands[1] + sum(operands[2:])
    if name.startswith("scatter"):
        return operands[1] + 2 * operands[2]
    return sum(operands) + results


def _size(var: Any) -> int:
    return math.prod(getattr(var.aval, "shape", ()))


def _bytes_in(var: Any) -> int:
    dtype = getattr(var.aval, "dtype", None)
    return _size(var) * getattr(dtype, "itemsize", 0)


def _is_float(var: Any) -> bool:
    dtype = getattr(var.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
