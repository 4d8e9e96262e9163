"""Every product of every layer, with a quantized weight, eagerly and in every transform."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.ops.test_cells import CELLS, KEY, MODES, bundles_of, close

PRODUCTS = [
    name
    for name, cell in CELLS.items()
    if cell.params and cell.op not in ("normalize", "moments", "dot_product_attention")
]


class How(NamedTuple):
    """How weights and activations are quantized, and how far results may be from those of floats."""

    dtype: str
    per: Any
    activations: str | None
    near: float


HOW = {
    "int8": How("int8", "channel", None, 0.02),
    "int8-int8": How("int8", "channel", "int8", 0.05),
    "int4": How("int4", "channel", None, 0.6),
    "int4-groups-int8": How("int4", 1, "int8", 0.6),
    "float8": How("float8_e4m3fn", "channel", None, 0.1),
    "float8-float8": How("float8_e4m3fn", "channel", "float8_e4m3fn", 0.2),
}


def dequantized(params: Any) -> Any:
    return {
        module: {
            name: value.dequantize() if isinstance(value, ps.quantize.QuantizedArray) else value
            for name, value in bundle.items()
        }
        for module, bundle in params.items()
    }


def outputs(f: Any, params: Any, state: Any, x: Any) -> Any:
    return f.apply(params, state, KEY, x)[0]


def gradient(f: Any, params: Any, state: Any, x: Any) -> Any:
    return jax.grad(lambda x: jnp.sum(jnp.sin(outputs(f, params, state, x))))(x)


RUNS: dict[str, Callable[..., Any]] = {
    "eager": outputs,
    "jit": jax.jit(outputs, static_argnums=0),
    "grad": gradient,
    "jit-grad": jax.jit(gradient, static_argnums=0),
}


def far(a: Any, b: Any) -> float:
    # A stack returns a mean, in which much cancels: of one number, what counts is its error beside 0.3.
    a, b = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 0.3))


# All would be 2,160. Here each product meets each way to quantize twice, in other modes and runs.
CASES = [
    (name, list(MODES)[(i + j + 3 * k) % len(MODES)], how, list(RUNS)[(i + 2 * j + k) % len(RUNS)])
    for i, name in enumerate(PRODUCTS)
    for j, how in enumerate(HOW)
    for k in range(2)
]


@pytest.mark.one_in(12)
@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize(("name", "mode", "how", "run"), CASES)
def test_a_quantized_weight_in_every_mode(name: str, mode: str, how: str, run: str) -> None:
    cell, kind, go = CELLS[name], HOW[how], RUNS[run]
    x = jnp.asarray(np.random.RandomState(0).standard_normal(cell.shape), jnp.float32)
    f = ps.transform_with_state(lambda x: MODES[mode](cell.layer, x))
    params, state = bundles_of(f, x)
    small = ps.quantize.weights(params, kind.dtype, per=kind.per)
    read = go(f, dequantized(small), state, x)
    assert close(go(f, small, state, x), read, 1e-5)  # outside the block, read as floats
    with ps.quantize.serving(kind.activations):
        served = go(f, small, state, x)
        text = str(jax.make_jaxpr(lambda p, x: f.apply(p, state, KEY, x)[0])(small, x))
    if kind.activations is None:
        assert close(served, read, 1e-5)
    else:
        assert far(served, read) < kind.near
    if "grad" not in run:
        assert far(served, outputs(f, params, state, x)) < kind.near
    # It computes with the values themselves.
    in_integers = kind.activations == "int8" and cell.op != "embedding_lookup"
    if in_integers and (kind.per == "channel" or cell.op == "dot_general"):
        assert "preferred_element_type=int32" in text
