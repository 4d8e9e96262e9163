"""A module's repr is the call that made it, written as dm-haiku writes it."""

import dataclasses

import haiku as hk
import jax.numpy as jnp
import pytest

import purestate as ps


def modules(lib):
    class Net(lib.Module):
        def __init__(self, size, rate=0.5, name=None):
            super().__init__(name=name)

    class Many(lib.Module):
        def __init__(self, size, *sizes, rate=0.5, name=None):
            super().__init__(name=name)

    class Options(lib.Module):
        def __init__(self, size, name=None, **options):
            super().__init__(name=name)

    @dataclasses.dataclass
    class Data(lib.Module):
        size: int
        name: str | None = None

    class Quiet(lib.Module):
        AUTO_REPR = False

    class Own(lib.Module):
        def __repr__(self):
            return "mine"

    return locals()


def shown(lib, call):
    return lib.transform(lambda: repr(eval(call, {**modules(lib), "jnp": jnp}))).apply({}, None)


CALLS = {
    "Net(3)": "Net(size=3)",
    "Net([3, 4], 0.25)": "Net(size=[3, 4], rate=0.25)",
    "Net(rate=0.25, size=3, name='net')": "Net(size=3, rate=0.25, name='net')",
    "Net(3, 0.5, None)": "Net(size=3)",
    "Net(3, rate=jnp.arange(2))": "Net(size=3, rate=Array([0, 1], dtype=int32))",
    "Net(size=None)": "Net(size=None)",
    "Many(3, 4, 5)": "Many(size=3, 4, 5)",
    "Many(3, 4, rate=0.5)": "Many(size=3, 4, rate=0.5)",
    "Options(3, b=1, a=2)": "Options(size=3, b=1, a=2)",
    "Data(2)": "Data(size=2)",
    "Own()": "mine",
    "Net('a' * 40, {'b': 'c' * 40, 'd': 'e' * 40})": (
        f"Net(\n    size='{'a' * 40}',\n    rate={{'b': '{'c' * 40}',\n"
        f"          'd': '{'e' * 40}'}},\n)"
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_it_is_the_call(call):
    assert shown(ps, call) == shown(hk, call) == CALLS[call]


def test_it_can_be_switched_off():
    assert ".Quiet object at 0x" in shown(ps, "Quiet()")
    with ps.config.context(module_auto_repr=False):
        assert ".Net object at 0x" in shown(ps, "Net(3)")
    assert shown(ps, "Net(3)") == "Net(size=3)"


def test_nothing_is_shown_before_it_is_asked_for():
    class Loud:
        def __repr__(self):
            raise AssertionError

    net = modules(ps)["Net"]
    assert ps.transform(lambda: net(Loud()).name).apply({}, None) == "net"
