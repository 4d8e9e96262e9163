"""How shapes are computed, and arrays joined."""

import re

import libcst as cst

from purestate._port.row import Code
from purestate._port.signatures import Bound

SMALL_INTEGERS = "Sums of bool and of small integers are int32 in JAX."
ONE_TENSOR = (
    "If its first argument is one tensor and not a list, `tf.concat` returns it. `jnp.concatenate`"
    " joins its parts along the first axis."
)
JOINED = "{values:joined}"
JOINED_ARRAY = f"np.array({JOINED}, np.int32)"
_TUPLES = ("subscript", "tuple", "shape")
_OF_NUMPY = (
    "abs add all any arange asarray ceil concatenate floor floor_divide max maximum mean min"
    " minimum mod multiply negative power prod reshape round sign sort square stack"
    " subtract sum take true_divide"
)
_NUMPY = re.compile(rf"\bjnp\.({'|'.join(_OF_NUMPY.split())})\(")


def by_numpy(template: str) -> str:
    """Returns code that computes sizes with numpy, so that JAX does not trace them."""
    return _NUMPY.sub(r"np.\1(", template)


def shape(call: Bound) -> str:
    if call.context in _TUPLES:
        return "{input}.shape"
    return "np.array({input}.shape, np.int32)"


def concat(call: Bound) -> str | Code:
    values = call.value("values")
    template = "jnp.concatenate({values}, axis={axis})"
    if isinstance(values, cst.List | cst.Tuple):
        parts = [e.value for e in values.elements if isinstance(e, cst.Element)]
        if any(map(_is_shape, parts)):
            is_joined = len(parts) == len(values.elements) and call.literal("axis") in (0, -1)
            if is_joined and all(map(_is_shape_or_list, parts)):
                return JOINED if call.context in _TUPLES else JOINED_ARRAY
            return by_numpy(template)
    if call.kind == "array":
        return Code("jnp.asarray({values})")
    return Code(template, "" if call.kind == "list" else ONE_TENSOR)


def stack(call: Bound) -> str:
    template = "jnp.stack({values}, axis={axis})"
    values = call.value("values")
    if not isinstance(values, cst.List | cst.Tuple) or call.literal("axis") != 0:
        return template
    if call.context == "shape":
        return "{values}"
    if any(_is_size(element.value) for element in values.elements):
        return by_numpy(template)
    return template


def unstack(call: Bound) -> str:
    if _is_shape(call.value("value")) and not call.has("axis"):
        return "list({value})"
    return "list(jnp.unstack({value}, axis={axis}))"


def reduce_prod(call: Bound) -> str | Code:
    if _is_shape(call.value("input_tensor")) and not (call.has("axis") or call.has("keepdims")):
        return "math.prod({input_tensor})"
    return Code("jnp.prod({input_tensor}, axis={axis}, keepdims={keepdims})", SMALL_INTEGERS)


def _is_size(node: cst.BaseExpression) -> bool:
    """Whether code is `tf.shape(x)[0]` or `x.shape[0]`."""
    return (
        isinstance(node, cst.Subscript)
        and isinstance(node.slice[0].slice, cst.Index)
        and _is_shape(node.value)
    )


def _is_shape_or_list(node: cst.BaseExpression) -> bool:
    return _is_shape(node) or isinstance(node, cst.List | cst.Tuple)


def _is_shape(node: cst.BaseExpression) -> bool:
    """Whether code is part of `tf.shape(x)`, which becomes a tuple."""
    if isinstance(node, cst.Subscript):
        index = node.slice[0].slice
        if not isinstance(index, cst.Slice):
            return False
        node = node.value
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return isinstance(node, cst.Attribute) and node.attr.value == "shape"
    return node.func.attr.value == "shape"
