"""Module names: numbers, forced names and taken names are those of dm-haiku, for random sequences of them."""

import random

import haiku as hk
import pytest

import purestate as ps
from tests.core.raises import raises

NAMES = ["a", "a_1", "a_2", "b", "a_b", "a_0", "a_01", "b_10", "_a", "A"]


def sequences(number=60):
    choose = random.Random(0)
    return [[choose.choice(NAMES) for _ in range(choose.randint(1, 6))] for _ in range(number)]


def paths(lib, names, method):
    """What the modules of a method are called; None for one that may not have its name."""

    def make():
        found = []
        for name in names:
            try:
                found.append(lib.Module(name=name).module_name)
            except ValueError:
                found.append(None)
        return found

    class Outer(lib.Module):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.found = make() if method == "__init__" else None

        def __call__(self):
            return make()

        def other(self):
            return make()

    def f():
        if method == "outside":
            return make()
        return Outer().found if method == "__init__" else getattr(Outer(), method)()

    return lib.transform(f).apply({}, None)


@pytest.mark.parametrize("method", ["outside", "__init__", "__call__", "other"])
def test_as_dm_haiku_names_them(method):
    prefix = {"outside": "", "__init__": "outer/~/", "__call__": "outer/", "other": "outer/~other/"}
    taken = 0
    for names in sequences():
        ours, theirs = (paths(lib, names, method) for lib in (ps, hk))
        assert ours == theirs, names
        assert all(path is None or path.startswith(prefix[method]) for path in ours)
        taken += None in ours
    assert 0 < taken < 60


@pytest.mark.parametrize("forced", ["a", "a/b", "x/~/a", "a_2", "~"])
@pytest.mark.parametrize("around", ["a", "b"])
def test_forced_names_as_dm_haiku_takes_them(forced, around):
    def modules(lib):
        def f():
            made = [lib.Module(name=around), lib.Module(name=lib.force_name(forced))]
            made += [lib.Module(name="a"), lib.Module(name="a")]
            return [(module.module_name, module.name) for module in made]

        return lib.transform(f).apply({}, None)

    assert modules(ps) == modules(hk)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "a:b", "é"])
def test_names_that_are_not_identifiers(name):
    f = ps.transform(lambda: ps.Module(name=name))
    raises(ps.errors.ModuleNameError, repr(name), "identifier", call=lambda: f.init(None))


def test_a_numbered_name_twice():
    f = ps.transform(lambda: [ps.Module(name="l_100") for _ in range(2)])
    raises(ps.errors.ModuleNameError, "'l_100'", "name='l'", call=lambda: f.init(None))


def test_two_runs_of_a_method_share_their_modules():
    class Net(ps.Module):
        def __call__(self):
            return [ps.Module(name="a").module_name, ps.Module(name="a").module_name]

    def f():
        net = Net()
        return net(), net()

    assert ps.transform(f).apply({}, None) == (["net/a", "net/a_1"],) * 2
