"""Quantized arrays and params, against NumPy in float64."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import purestate as ps

LARGEST = {"int8": 127, "int4": 7, "float8_e4m3fn": 448, "float8_e5m2": 57344}
X = np.random.RandomState(0).standard_normal([6, 4, 8]).astype(np.float32)
LAYOUTS: dict[str, tuple[Any, int | None]] = {
    "all": (None, None),
    "one axis": (1, None),
    "two axes": ((0, -1), None),
    "groups": (-1, 4),
    "groups in front": (0, 3),
}


def reference(x: Any, dtype: str, axis: Any, group_size: int | None) -> tuple[Any, Any]:
    """The values and scales, one by one."""
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    if group_size is not None:
        (i,) = axes
        shape[i] = x.shape[i] // group_size
    ratio = [n // m for n, m in zip(x.shape, shape, strict=True)]
    scales = np.zeros(shape)
    values = np.zeros(x.shape)
    for at in np.ndindex(*shape):
        part = tuple(slice(a * r, (a + 1) * r) for a, r in zip(at, ratio, strict=True))
        scales[at] = np.abs(x[part]).max() / LARGEST[dtype] or 1.0
        scaled = np.float32(x[part]) / np.float32(scales[at])
        if dtype.startswith("int"):
            values[part] = np.round(scaled)
        else:
            values[part] = scaled.astype(getattr(ml_dtypes, dtype)).astype(np.float64)
    return values, scales


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("name", LAYOUTS)
def test_values_and_scales_are_those_of_numpy(name: str, dtype: str) -> None:
    axis, group_size = LAYOUTS[name]
    x = X.copy()
    x[0] = 0.0  # a scale of zeros is 1
    array = ps.quantize.quantize_array(jnp.asarray(x), dtype, axis, group_size)
    values, scales = reference(x.astype(np.float64), dtype, axis, group_size)
    assert array.values.dtype == dtype
    assert array.scales.shape == scales.shape
    assert np.allclose(array.scales, scales, rtol=1e-6)
    # A number half way between two values may be rounded to either.
    step = 1 if dtype.startswith("int") else np.abs(values) / 4 + 2e-4
    off = np.abs(np.asarray(array.values, np.float64) - values)
    assert np.all(off <= step)
    assert np.mean(off > 0) < 0.02
    error = np.abs(np.asarray(array.dequantize()) - x)
    assert error.max() <= {"int8": 0.02, "int4": 0.3}.get(dtype, 0.3)


def test_it_is_an_array_and_a_pytree() -> None:
    x = jnp.asarray(X, jnp.bfloat16)
    array = ps.quantize.quantize_array(x, "int8", axis=1)
    assert (array.shape, array.ndim, array.size, array.dtype) == ((6, 4, 8), 3, 192, jnp.bfloat16)
    assert array.dequantize().dtype == jnp.bfloat16
    assert jnp.sum(array).dtype == jnp.bfloat16  # `jax.numpy` takes it for the array
    assert len(jax.tree.leaves(array)) == 2
    again = jax.jit(lambda a: a)(array)
    assert isinstance(again, ps.quantize.QuantizedArray)
    assert again.dtype == array.dtype
    first = jax.tree.map(lambda leaf: leaf[0], array)
    assert first.shape == (4, 8)
    assert np.array_equal(first.dequantize(), array.dequantize()[0])
    copy = pickle.loads(pickle.dumps(array))
    assert np.array_equal(copy.dequantize(), array.dequantize())


BAD: dict[str, tuple[Any, str]] = {
    "integers": (lambda: ps.quantize.quantize_array(jnp.arange(3)), "int32"),
    "a list": (lambda: ps.quantize.quantize_array([1.0]), "an array of floats"),  # pyright: ignore
    "a dtype": (lambda: ps.quantize.quantize_array(jnp.ones(3), "int3"), "'int8', 'int4'"),
    "an axis": (lambda: ps.quantize.quantize_array(jnp.ones(3), axis=1), "Axis 1"),
    "groups": (
        lambda: ps.quantize.quantize_array(jnp.ones([6, 2]), axis=0, group_size=4),
        "Choose one of 1, 2, 3, 6",
    ),
    "groups of two axes": (
        lambda: ps.quantize.quantize_array(jnp.ones([6, 2]), group_size=2),
        "along one axis",
    ),
    "nothing": (lambda: ps.quantize.weights({"linear": {"b": jnp.ones(3)}}), "no parameter"),
    "no params": (lambda: ps.quantize.weights({"w": jnp.ones([3, 2])}), "module 'w'"),  # pyright: ignore
    "twice": (
        lambda: ps.quantize.weights(
            ps.quantize.weights({"a": {"w": jnp.ones([3, 2])}}), predicate=lambda *_: True
        ),
        "quantized already",
    ),
    "a bias in groups": (
        lambda: ps.quantize.weights({"a": {"b": jnp.ones(3)}}, predicate=lambda *_: True, per=2),
        "'a/b' cannot be quantized",
    ),
    "per": (lambda: ps.quantize.weights({"a": {"w": jnp.ones([3, 2])}}, per="row"), "'channel'"),
    "e5m2": (
        lambda: ps.quantize.weights({"a": {"w": jnp.ones([3, 2])}}, "float8_e5m2"),
        "was requested",
    ),
    "calibrated": (lambda: ps.quantize.serving(calibrated=True), "activations"),
    "activations": (lambda: ps.quantize.serving("int4"), "'int4' was requested"),
    "history": (lambda: ps.quantize.fp8_training(history=0), "1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name: str) -> None:
    make, text = BAD[name]
    with pytest.raises(ps.errors.QuantizeError, match=text):
        make()


def forward(x: Any) -> Any:
    x = ps.Conv2D(4, 3)(x)
    x = ps.Conv2DTranspose(6, 3)(x)
    x = ps.LayerNorm(-1, True, True)(x)
    x = x + jnp.mean(ps.Embed(10, 6)(jnp.arange(3)), 0)
    x = ps.layer_stack(2)(lambda x: ps.Linear(6)(x))(x)
    return ps.Linear(5)(x)


def test_weights_are_matrices_kernels_and_tables() -> None:
    f = ps.transform(forward)
    params = f.init(jax.random.key(0), jnp.ones([1, 4, 4, 2]))
    small = ps.quantize.weights(params)
    shapes = {
        f"{module}/{name}": value.scales.shape
        for module, bundle in small.items()
        for name, value in bundle.items()
        if isinstance(value, ps.quantize.QuantizedArray)
    }
    assert shapes == {
        "conv2_d/w": (1, 1, 1, 4),
        "conv2_d_transpose/w": (1, 1, 6, 1),
        "embed/embeddings": (10, 1),
        "__layer_stack_no_per_layer/linear/w": (2, 1, 6),
        "linear/w": (1, 5),
    }
    assert small["linear"]["b"] is params["linear"]["b"]
    chosen = ps.quantize.weights(params, predicate=ps.surgery.glob("linear/w"))
    assert len(jax.tree.leaves(chosen)) == len(jax.tree.leaves(params)) + 1
    other = ps.quantize.weights(params, axes={"linear/w": (1,)})
    assert other["linear"]["w"].scales.shape == (6, 1)


def test_bytes() -> None:
    assert ps.quantize.bytes_of(jnp.ones(5, jnp.int4)) == 3
    assert ps.quantize.bytes_of({"a": jnp.ones(5, jnp.bfloat16), "b": jnp.ones(5, bool)}) == 15
