"""Products of quantized weights, against NumPy in float64."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import purestate as ps

RANDOM = np.random.RandomState(0)


class Dot(NamedTuple):
    """A product: its einsum, the shapes, and the axis of the weight that scales are shared along."""

    equation: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    numbers: Any
    axis: Any
    weight_first: bool = False


DOTS = {
    "matrix": Dot("bd,do->bo", (3, 8), (8, 5), None, 0),
    "leading axes": Dot("abd,do->abo", (2, 3, 8), (8, 5), None, 0),
    "two axes out": Dot("bd,dhk->bhk", (3, 8), (8, 2, 5), None, 0),
    "two axes summed": Dot(
        "bhk,hko->bo", (3, 2, 4), (2, 4, 5), (((1, 2), (0, 1)), ((), ())), (0, 1)
    ),
    "batch": Dot("gbd,gdo->gbo", (2, 3, 8), (2, 8, 5), (((2,), (1,)), ((0,), (0,))), 1),
    "weight first": Dot("do,bd->ob", (3, 8), (8, 5), (((0,), (1,)), ((), ())), 0, True),
    "transposed": Dot("bd,od->bo", (3, 8), (5, 8), (((1,), (1,)), ((), ())), 1),
}


def rows_quantized(x: Any, largest: int, axes: tuple[int, ...], group: int | None) -> Any:
    """What an input is after rounding, with one scale for each row (and group)."""
    shape = x.shape
    if group is not None:
        (axis,) = axes
        x = x.reshape(*shape[:axis], -1, group, *shape[axis + 1 :])
        axes = (axis + 1,)
    scales = np.abs(x).max(axes, keepdims=True) / largest
    return (np.round(x / scales) * scales).reshape(shape)


@pytest.mark.parametrize("how", ["weights", "int8", "groups", "groups-int8"])
@pytest.mark.parametrize("name", DOTS)
def test_dot_general_is_that_of_numpy(name: str, how: str) -> None:
    dot = DOTS[name]
    grouped = how.startswith("groups")
    if grouped and not isinstance(dot.axis, int):
        pytest.skip("groups are along one axis")
    x = RANDOM.standard_normal(dot.x).astype(np.float32)
    w = RANDOM.standard_normal(dot.w).astype(np.float32)
    stored = ps.quantize.quantize_array(jnp.asarray(w), "int8", dot.axis, 4 if grouped else None)

    def f(x: Any) -> Any:
        w = ps.get_parameter("w", dot.w, init=jnp.zeros)
        operands = (w, x) if dot.weight_first else (x, w)
        return ps.ops.dot_general(*operands, dot.numbers)

    read = np.asarray(stored.dequantize(), np.float64)
    exact = x.astype(np.float64)
    if how.endswith("int8"):
        # The axes of x that are summed, by the letters of the equation.
        terms = dot.equation.partition("->")[0].split(",")
        of_x, of_w = terms[::-1] if dot.weight_first else terms
        out = dot.equation.partition("->")[2]
        summed = tuple(i for i, a in enumerate(of_x) if a in of_w and a not in out)
        exact = rows_quantized(exact, 127, summed, 4 if grouped else None)
    operands = (read, exact) if dot.weight_first else (exact, read)
    expected = np.einsum(dot.equation, *operands)
    with ps.quantize.serving("int8" if how.endswith("int8") else None):
        apply = ps.transform(f).apply
        program = jax.make_jaxpr(apply)({"~": {"w": stored}}, None, x)
        out = apply({"~": {"w": stored}}, None, jnp.asarray(x))
    assert out.shape == expected.shape
    assert np.allclose(out, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert ("preferred_element_type=int32" in str(program)) == how.endswith("int8")


CONVS = {
    "NHWC": (("NHWC", "HWIO", "NHWC"), (2, 6, 6, 4), (3, 3, 4, 5), (0, 1, 2)),
    "NCHW": (("NCHW", "OIHW", "NCHW"), (2, 4, 6, 6), (5, 4, 3, 3), (1, 2, 3)),
    "1D": (("NWC", "WIO", "NWC"), (2, 6, 4), (3, 4, 5), (0, 1)),
}


@pytest.mark.parametrize("activations", [None, "int8"])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("name", CONVS)
def test_a_convolution_is_that_of_rounded_operands(
    name: str, transpose: bool, activations: str | None
) -> None:
    numbers, x_shape, w_shape, axis = CONVS[name]
    x = RANDOM.standard_normal(x_shape).astype(np.float32)
    stored = ps.quantize.quantize_array(
        jnp.asarray(RANDOM.standard_normal(w_shape), jnp.float32), "int8", axis
    )
    strides = (2,) * (len(x_shape) - 2)

    def f(x: Any) -> Any:
        w = ps.get_parameter("w", w_shape, init=jnp.zeros)
        op = ps.ops.conv_transpose if transpose else ps.ops.conv_general_dilated
        return op(x, w, strides, "SAME", dimension_numbers=numbers)

    exact = x.astype(np.float64)
    if activations:
        exact = rows_quantized(exact, 127, tuple(range(1, x.ndim)), None)
    with jax.enable_x64():
        read = jnp.asarray(np.asarray(stored.dequantize()), jnp.float64)
        op = lax.conv_transpose if transpose else lax.conv_general_dilated
        expected = op(jnp.asarray(exact), read, strides, "SAME", dimension_numbers=numbers)
    with ps.quantize.serving(activations):
        out = ps.transform(f).apply({"~": {"w": stored}}, None, jnp.asarray(x))
    assert out.shape == expected.shape
    assert np.allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_layers_of_half_precision_sum_in_single() -> None:
    f = ps.transform(lambda x: ps.Linear(5)(x))
    x = jnp.asarray(RANDOM.standard_normal([3, 64]), jnp.bfloat16)
    params = f.init(jax.random.key(0), x)
    small = ps.quantize.weights(params)
    for activations, limit in ((None, 0.01), ("int8", 0.02)):
        with ps.quantize.serving(activations):
            out = f.apply(small, None, x)
        exact = np.asarray(x, np.float64) @ np.asarray(
            small["linear"]["w"].dequantize(), np.float64
        )
        assert out.dtype == jnp.bfloat16
        assert np.abs(np.asarray(out, np.float64) - exact).max() < limit * np.abs(exact).max()
