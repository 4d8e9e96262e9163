import logging
import sys

import jax
import jax.numpy as jnp
import pytest
import tabulate

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.format_variables import format_variables, log_variables

# What the real Sonnet prints for the same variables.
MLP = """\
| Variable       | Spec     | Trainable   | Device   |
|----------------+----------+-------------+----------|
| mlp/linear_0/w | f32[3,4] | True        | CPU      |
| mlp/linear_0/b | f32[4]   | True        | CPU      |
| mlp/linear_1/w | f32[4,2] | True        | CPU      |
| mlp/linear_1/b | f32[2]   | True        | CPU      |"""
EMPTY = """\
| Variable   | Spec   | Trainable   | Device   |
|------------+--------+-------------+----------|"""
MIXED = """\
| Variable         | Spec    | Trainable   | Device   |
|------------------+---------+-------------+----------|
| Variable         | bool[1] | True        | CPU      |
| abcdefghijklmnop | i32[]   | False       | CPU      |"""


class Held(snt.Variable):
    """A variable of any name."""

    def __init__(self, path, value, trainable=True):
        self.held = path
        super().__init__(value, trainable, name="held")

    @property
    def name(self):
        return f"{self.held}:0"


def mlp():
    shapes = {"linear_1/b": [2], "linear_0/b": [4], "linear_1/w": [4, 2], "linear_0/w": [3, 4]}
    return [Held(f"mlp/{name}", jnp.zeros(shape)) for name, shape in shapes.items()]


def test_tables_of_sonnet():
    assert format_variables(mlp()) == MLP
    assert format_variables([]) == EMPTY
    mixed = [Held("abcdefghijklmnop", 1, False), Held("Variable", jnp.array([True]))]
    assert format_variables(mixed) == MIXED


@pytest.mark.parametrize("name", ["w", "a_very_long_name_of_a_variable"])
def test_the_table_is_that_of_tabulate(name):
    rows = [(name, "f32[2,3]", "True", "CPU")]
    headers = ("Variable", "Spec", "Trainable", "Device")
    expected = tabulate.tabulate(rows, headers=headers, tablefmt="orgtbl")
    assert format_variables([Held(name, jnp.zeros([2, 3]))]) == expected


@pytest.mark.parametrize(
    "dtype, short",
    [
        ("float16", "f16"),
        ("bfloat16", "bf16"),
        ("complex64", "c64"),
        ("uint8", "u8"),
        ("int16", "i16"),
        ("bool", "bool"),
        ("float8_e4m3fn", "f8_e4m3fn"),
    ],
)
def test_specs(dtype, short):
    table = format_variables([snt.Variable(jnp.zeros([1], dtype), name="w")])
    assert f"| {short}[1] " in table


def test_other_formats_need_tabulate(monkeypatch):
    variables = mlp()
    assert format_variables(variables, tablefmt="plain").startswith("Variable        Spec")
    monkeypatch.setitem(sys.modules, "tabulate", None)
    assert format_variables(variables) == MLP
    with pytest.raises(ps.errors.MissingPackageError, match="pip install tabulate"):
        format_variables(variables, tablefmt="plain")


def test_while_jax_traces():
    tables = []

    def f():
        tables.append(format_variables([snt.Variable(1.0, name="w")]))

    jax.jit(lambda: ps.transform_with_state(f).init(None))()
    assert "| w          | f32[]  | True        | traced   |" in tables[0]


def test_log(caplog):
    with caplog.at_level(logging.INFO, "purestate.sonnet"):
        log_variables(mlp())
    assert [record.getMessage() for record in caplog.records] == MLP.split("\n")
