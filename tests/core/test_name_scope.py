"""`name_scope`: names as inside of a module, for one `with` block."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import purestate as ps


def paths(lib):
    found = []

    class Net(lib.Module):
        def __call__(self):
            with lib.name_scope("inner"):
                note()
            with lib.name_scope("inner"):  # another one
                note()

        def other(self):
            with lib.name_scope("a/b"):
                note()

    def note():
        found.append(lib.Module(name="m").module_name)
        lib.get_parameter("w", [], init=jnp.ones)

    def f():
        with lib.name_scope("x"):
            note()
            note()
            with lib.name_scope("y/z"):
                note()
        with lib.name_scope("x_7", method_name="__init__"):
            note()
        with lib.name_scope("x", method_name="encode"):
            note()
        net = Net()
        net()
        net()
        net.other()
        note()

    params = lib.transform(f).init(None)
    return found, list(params)


def test_as_in_dm_haiku():
    assert paths(ps) == paths(hk)
    assert paths(ps)[0][:3] == ["x/m", "x/m_1", "x/y/z/m"]


def test_parameters_of_the_block_are_under_its_name():
    def f():
        with ps.name_scope("tower"):
            ps.get_parameter("w", [], init=jnp.ones)
            assert ps.current_name() == "tower"
        assert ps.current_name() == "~"

    assert jax.tree.map(float, ps.transform(f).init(None)) == {"tower": {"w": 1}}


def test_it_ends_with_an_exception():
    def f():
        with pytest.raises(KeyError), ps.name_scope("a"):
            raise KeyError
        return ps.current_name(), ps.Module().module_name

    assert ps.transform(f).apply({}, None) == ("~", "module")


def test_each_block_needs_one_of_its_own():
    def f(again):
        scope = ps.name_scope("a")
        with scope:
            if again == "inside":
                with scope:
                    pass
        with scope:
            pass

    for again, words in (("inside", "is open already"), ("after", "was used before")):
        with pytest.raises(ps.errors.ModuleError, match=f"'a' {words}"):
            ps.transform(f).init(None, again)


@pytest.mark.parametrize("name", ["", "/a"])
def test_names_it_cannot_have(name):
    with pytest.raises(ps.errors.ModuleError, match="must not be empty or start with a slash"):
        ps.transform(lambda: ps.name_scope(name)).init(None)


@pytest.mark.parametrize("name", ["a//b", "a/1", "a b"])
def test_each_part_is_an_identifier(name):
    with pytest.raises(ps.errors.ModuleNameError, match="identifier"):
        ps.transform(lambda: ps.name_scope(name)).init(None)
