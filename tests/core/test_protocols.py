"""`ModuleProtocol` and `SupportsCall`: what counts as a module, as dm-haiku's protocols have it."""

from typing import Protocol

import haiku as hk
import pytest

import purestate as ps


def kinds(lib):
    """Objects of all kinds, and whether they are a module, and one that can be called."""

    class Silent(lib.Module):
        pass

    class Callable(lib.Module):
        def __call__(self):
            return 1

    class Looks:
        name = module_name = "looks"

        def params_dict(self):
            return {}

        def state_dict(self):
            return {}

    class LooksAndCalls(Looks):
        def __call__(self):
            return 1

    class Named:
        name = module_name = "named"

    def f():
        values = [Silent(), Callable(), lib.Linear(1), Looks(), LooksAndCalls(), Named(), len, None]
        protocols = (lib.ModuleProtocol, lib.SupportsCall)
        return [[isinstance(value, protocol) for protocol in protocols] for value in values]

    return lib.transform(f).apply({}, None)


def test_as_in_dm_haiku():
    assert kinds(ps) == kinds(hk)
    assert kinds(ps) == [
        [True, False], [True, True], [True, True], [True, False], [True, True],
        [False, False], [False, False], [False, False],
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", [ps.ModuleProtocol, ps.SupportsCall])
def test_a_module_does_not_derive_from_a_protocol(protocol):
    with pytest.raises(TypeError, match=r"Net derives from a protocol.*ps\.Module.*Protocol"):
        type("Net", (protocol,), {})


def test_a_protocol_may_ask_for_more():
    from typing import runtime_checkable

    @runtime_checkable
    class Encoder(ps.ModuleProtocol, Protocol):
        def encode(self, x): ...

    class Net(ps.Module):
        def encode(self, x):
            return x

    f = ps.transform(lambda: [isinstance(m, Encoder) for m in (Net(), ps.Linear(1))])
    assert f.apply({}, None) == [True, False]
