"""Bit for bit the same as dm-haiku: names, first values, outputs, state and gradients of every layer, net and core."""

import inspect
from typing import Any

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate
from tests.haiku_parity import table_layers, table_recurrent
from tests.haiku_parity.comparison import compare, differences, precision_of, transformed
from tests.haiku_parity.table_layers import Row, inputs_of
from tests.layers.haiku_bits import num_equations
from tests.suite.covering import covering, variants

LAYERS, RECURRENT = table_layers.ROWS, table_recurrent.ROWS
VARIANTS = variants([row.name for row in LAYERS + RECURRENT])


def may_be_fast(row: Row, dtype: str, mode: str, parts: tuple[str, ...]) -> bool:
    """Whether a case is short, and shows what no quicker test does."""
    if row.name in VARIANTS:
        return False
    if row.is_net:
        return (dtype, mode) == ("float32", "jit")
    if row in RECURRENT:  # float32 and bfloat16: in tests/layers/recurrent and test_attention.py
        mode_shown = "eager" if row.name.endswith("_wide") else "jit"
        dtype_shown = "float64" if "float64" in row.dtypes else row.dtypes[0]
        return (dtype, mode, parts) == (dtype_shown, mode_shown, ("gradients",))
    return (mode, parts) in ((("eager", ("init", "apply")), ("jit", ("gradients",))))


def cases() -> list[Any]:
    """Every row in every dtype, eagerly and under `jit`. A few of them, with each row, are fast."""
    combinations = [
        {"row": row.name, "dtype": dtype, "mode": mode, "parts": parts}
        for row in LAYERS + RECURRENT
        for dtype in row.dtypes
        for mode in ("eager", "jit")
        for parts in (("init", "apply"), ("gradients",))
    ]
    rows = {row.name: row for row in LAYERS + RECURRENT}
    short = [case for case in combinations if may_be_fast(rows[case["row"]], *[*case.values()][1:])]
    fast = [short[place] for place in covering(short)]
    return [
        pytest.param(
            rows[case["row"]],
            case["dtype"],
            case["mode"],
            case["parts"],
            id="-".join([case["row"], case["dtype"], case["mode"], *case["parts"]]),
            marks=[] if case in fast else pytest.mark.slow,
        )
        for case in combinations
    ]


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize(("row", "dtype", "mode", "parts"), cases())
def test_bits(row: Row, dtype: str, mode: str, parts: tuple[str, ...]) -> None:
    assert compare(row, dtype, mode, parts) == {part: [] for part in parts}


@pytest.mark.parametrize(
    ("row", "dtype"),
    [
        pytest.param(
            row,
            dtype,
            id=f"{row.name}-{dtype}",
            marks=pytest.mark.slow if row.name in VARIANTS and dtype != row.dtypes[0] else (),
        )
        for row in LAYERS + RECURRENT
        for dtype in row.dtypes
    ],
)
def test_names_dtypes_and_equations(row: Row, dtype: str) -> None:
    def described(lib: Any) -> Any:
        f = transformed(lib, row)
        in_order = []

        def init(*args: Any) -> Any:
            bundles = f.init(*args)
            # What comes out of a JAX function is sorted.
            in_order.extend(
                (module, list(variables))
                for bundle in bundles
                for module, variables in bundle.items()
            )
            return bundles

        bundles = jax.eval_shape(init, key, *inputs)
        jaxpr, out = jax.make_jaxpr(f.apply, return_shape=True)(*bundles, key, *inputs)
        return (in_order, bundles, jax.tree.leaves(out)), num_equations(jaxpr.jaxpr)

    with precision_of(dtype):
        inputs, key = inputs_of(row, dtype), jax.random.key(0)
        (ours, our_equations), (theirs, their_equations) = described(purestate), described(haiku)
    assert ours == theirs
    assert our_equations <= their_equations


class Noting:
    """A library that notes what it is asked for."""

    def __init__(self, lib: Any, noted: set[str], prefix: str = ""):
        self._lib, self._noted, self._prefix = lib, noted, prefix

    def __getattr__(self, name: str) -> Any:
        self._noted.add(self._prefix + name)
        value = getattr(self._lib, name)
        return Noting(value, self._noted, f"{name}.") if inspect.ismodule(value) else value


def test_every_layer_net_and_core_has_a_row() -> None:
    noted: set[str] = set()
    for row in LAYERS + RECURRENT:
        key = jax.random.key(0)
        f = purestate.transform_with_state(
            lambda *x, row=row: row.run(Noting(purestate, noted), *x)
        )
        jax.eval_shape(f.init, key, *inputs_of(row, "float32"))

    def modules(lib: Any, prefix: str = "") -> set[str]:
        return {
            prefix + name
            for name, x in vars(lib).items()
            if inspect.isclass(x) and issubclass(x, haiku.Module)
        }

    # Subclasses with other sizes, and what has nothing to compute.
    of_another_size = {f"nets.ResNet{size}" for size in (18, 34, 50, 101, 152, 200)}
    asked_for = (
        (modules(haiku) | modules(haiku.nets, "nets.")) - of_another_size - {"Module", "RNNCore"}
    )
    assert len(asked_for) > 40
    assert sorted(asked_for - noted) == []


def test_differences_are_seen() -> None:
    one = np.float32(1)
    assert differences({"a": one, "b": np.float32(0)}, {"a": one, "b": np.float32(0)}) == []
    assert differences({"a": one}, {"a": np.nextafter(one, np.float32(2))}) == [
        "['a']: 1 units in the last place"
    ]
    assert differences([np.float32(0)], [np.float32(-0.0)]) == ["[0]: 0 units in the last place"]
    assert differences([one], [np.float64(1)]) == ["[0]: () float32, dm-haiku () float64"]
    infinite = Row("", lambda lib, x: x / jnp.zeros_like(x) * 0, ((2,),))
    assert compare(infinite, "float32", "eager")["apply"] == ["[0]: not a number"]
    assert "structure" in differences([one], {"a": one})[0]
