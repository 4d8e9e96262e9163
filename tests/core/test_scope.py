"""Scopes: each method hands out names and finds variables of its own, and gives way to its caller at its end."""

import jax.numpy as jnp
import pytest

import purestate as ps


class Probe(ps.Module):
    """Runs a function in one of its methods."""

    def __call__(self, run):
        return run()

    def other(self, run):
        return run()

    @property
    def prop(self):
        return ps.current_name(), ps.Module(name="m").module_name


def here():
    return ps.current_name(), ps.Module(name="m").module_name


def test_the_scope_is_that_of_the_innermost_method():
    def f():
        a, b = Probe(name="a"), Probe(name="b")
        inside = a(lambda: (here(), b(here), b.other(lambda: a(here)), here()))
        return inside, here()

    assert ps.transform(f).apply({}, None) == (
        (("a", "a/m"), ("b", "b/m"), ("a", "a/m"), ("a", "a/m_1")),
        ("~", "m"),
    )


def test_names_begin_again_with_each_call_of_a_method():
    def f():
        a = Probe(name="a")
        return [a(here), a(here), a.other(here), a.prop, a.prop]

    assert ps.transform(f).apply({}, None) == [
        ("a", "a/m"),
        ("a", "a/m"),
        ("a", "a/~other/m"),
        ("a", "a/~prop/m"),
        ("a", "a/~prop/m"),
    ]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_gives_back_the_scope_of_the_caller(error):
    def fail():
        raise error

    def f():
        a, b = Probe(name="a"), Probe(name="b")
        with pytest.raises(error):
            a(lambda: b(fail))
        return here()

    assert ps.transform(f).apply({}, None) == ("~", "m")


def test_a_method_given_to_another_module_keeps_its_scope():
    class Holder(ps.Module):
        def __call__(self, method):
            return method(lambda: ps.get_parameter("w", [], init=jnp.ones)), here()

    f = ps.transform(lambda: Holder()(Probe(name="a").other))
    params = f.init(None)
    assert list(params) == ["a"]
    assert f.apply(params, None)[1] == ("holder", "holder/m")


def test_scopes_of_two_runs_are_apart():
    f = ps.transform(lambda: [here(), here()])
    assert f.apply({}, None) == f.apply({}, None) == [("~", "m"), ("~", "m_1")]
