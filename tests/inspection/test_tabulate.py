"""`tabulate`: the same tables as dm-haiku's, and what is said when something is wrong."""

import sys

import haiku as hk
import jax.numpy as jnp
import pytest

import purestate as ps


def net(lib):
    def f(x):
        x = lib.BatchNorm(True, True, 0.9)(x, True)
        out = lib.nets.MLP([300, 2], name="my_mlp")(x)
        lib.to_module(lambda: lib.get_parameter("scale", [40, 50, 60], init=jnp.ones) and None)
        return {"out": out, "more": [lib.MultiHeadAttention(2, 4, w_init=jnp.ones)(x, x, x)]}

    return f


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"columns": None, "filters": None},
        {"columns": ("module", "params_bytes"), "filters": ("has_params",)},
        {
            "columns": ("config", "owned_params", "input"),
            "filters": (),
            "tabulate_kwargs": {"tablefmt": "html"},
        },
    ],
)
def test_same_as_dm_haiku(options):
    x = jnp.ones([4, 8])
    ours = ps.experimental.tabulate(net(ps), **options)(x)
    assert ours == hk.experimental.tabulate(net(hk), **options)(x)
    assert "my_mlp" in ours


def test_python_values():
    def f(x, is_training, *, rate):
        return ps.nets.MLP([2])(
            x, rate if is_training else None, ps.next_rng_key() if is_training else None
        )

    table = ps.experimental.tabulate(f, columns=["module", "input"])(
        jnp.ones([1, 2]), False, rate=0.5
    )
    assert "f32[1,2], None, None" in table
    assert "0.5" in ps.experimental.tabulate(f, columns=["input"])(jnp.ones([1, 2]), True, rate=0.5)


def test_owned_params_by_size_and_name():
    class Owner(ps.Module):
        def __call__(self, x):
            for name, size in (("a", 1), ("b", 2), ("c", 2), ("d", 3)):
                ps.get_parameter(name, [size], init=jnp.zeros)
            return ps.Linear(1)(x)

    table = ps.experimental.tabulate(
        lambda x: Owner()(x), columns=["owned_params"], tabulate_kwargs={"tablefmt": "plain"}
    )(jnp.ones([1, 1]))
    lines = table.splitlines()
    assert [line.strip() for line in lines[1:5]] == [
        "d: f32[3]",
        "b: f32[2]",
        "c: f32[2]",
        "a: f32[1]",
    ]


def test_no_rows():
    assert ps.experimental.tabulate(lambda: None)() == "No modules matching filters."


@pytest.mark.parametrize("option", ["columns", "filters"])
def test_what_there_is_not(option):
    with pytest.raises(
        ps.errors.PurestateError, match=f"no {option[:-1]} 'nonsense'. It has '"
    ) as error:
        ps.experimental.tabulate(lambda: None, **{option: ("nonsense",)})
    assert isinstance(error.value, ValueError)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tabulate", None)
    with pytest.raises(ImportError, match="pip install tabulate"):
        ps.experimental.tabulate(lambda: None)
