"""Hooks: which events reach them, in what order, for how long, and what their context says."""

import contextlib

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

ONE = jnp.ones([])


def getter(log, tag):
    def get(next_getter, value, context):
        log.append((tag, context.full_name))
        value = next_getter(value)
        log.append((f"/{tag}", context.full_name))
        return value

    return get


def creator(log, tag):
    def create(next_creator, shape, dtype, init, context):
        log.append((tag, context.full_name))
        value = next_creator(shape, dtype, init)
        log.append((f"/{tag}", context.full_name))
        return value

    return create


def interceptor(log, tag):
    def intercept(next_method, args, kwargs, context):
        log.append((tag, context.method_name))
        out = next_method(*args, **kwargs)
        log.append((f"/{tag}", context.method_name))
        return out

    return intercept


class Scale(ps.Module):
    def __call__(self, x):
        return x * ps.get_parameter("w", [], init=jnp.ones)


USES = {
    "get": (getter, ps.custom_getter, lambda: ps.get_parameter("w", [], init=jnp.ones), "~/w"),
    "create": (creator, ps.custom_creator, lambda: ps.get_parameter("w", [], init=jnp.ones), "~/w"),
    "set": (getter, ps.custom_setter, lambda: ps.set_state("w", ONE), "~/w"),
    "call": (interceptor, ps.intercept_methods, lambda: Scale.__call__(SCALE[0], ONE), "__call__"),
}
SCALE = []


@pytest.mark.parametrize("kind", USES)
def test_outermost_first_and_only_inside_the_block(kind):
    make, block, use, what = USES[kind]
    log = []

    def f():
        SCALE[:] = [Scale()]
        with contextlib.suppress(KeyError), block(make(log, "ended")):
            raise KeyError
        with block(make(log, "outer")), block(make(log, "inner")):
            use()
        if kind == "create":
            ps.get_parameter("other", [], init=jnp.ones)
        else:
            use()

    ps.transform_with_state(f).init(None)
    assert log == [("outer", what), ("inner", what), ("/inner", what), ("/outer", what)]


@pytest.mark.parametrize("params", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_they_listen_to_what_they_are_for(params, state):
    log = []

    def f():
        with (
            ps.custom_getter(getter(log, "get"), params=params, state=state),
            ps.custom_creator(creator(log, "create"), params=params, state=state),
        ):
            ps.get_parameter("p", [], init=jnp.ones)
            ps.get_state("s", [], init=jnp.ones)
            ps.set_state("s", ONE)

    ps.transform_with_state(f).init(None)
    expected = [
        (tag, path)
        for path, wanted in (("~/p", params), ("~/s", state))
        if wanted
        for tag in ("create", "/create", "get", "/get")
    ]
    assert log == expected


def test_what_each_passes_on_is_what_the_next_sees():
    def double(next_, value, context):
        return next_(value * 2) + 1

    def f():
        with ps.custom_getter(double), ps.custom_getter(lambda n, v, c: n(v + 10)):
            w = ps.get_parameter("w", [], init=jnp.ones)
        with ps.custom_setter(double), ps.custom_setter(lambda n, v, c: n(v + 10)):
            ps.set_state("s", ONE)
        return w

    g = ps.transform_with_state(f)
    params, state = g.init(None)
    assert float(params["~"]["w"]) == 1  # a getter changes what is read, not what is kept
    assert float(g.apply(params, state, None)[0]) == 1 * 2 + 10 + 1
    assert float(state["~"]["s"]) == 1 * 2 + 10 + 1


def test_the_context_of_a_variable():
    seen = []

    def look(next_getter, value, context):
        seen.append(context)
        return next_getter(value)

    class Outer(ps.Module):
        def __call__(self):
            with ps.custom_getter(look), ps.custom_setter(look):
                ps.get_parameter("w", [2, 3], jnp.bfloat16, init=jnp.ones)
                ps.set_state("s", {"a": ONE})
            return self

    ps.transform_with_state(lambda: Outer(name="net")()).init(None)
    get, set_ = seen
    assert (get.full_name, get.module_name, get.name) == ("net/w", "net", "w")
    assert (get.original_shape, get.original_dtype) == ([2, 3], jnp.bfloat16)
    assert get.original_init is jnp.ones
    assert (set_.full_name, set_.module_name, set_.name) == ("net/s", "net", "s")
    assert (set_.original_shape, set_.original_dtype) == ({"a": ()}, {"a": jnp.float32})
    assert isinstance(get.module, Outer)
    assert set_.module is get.module


def test_the_context_of_a_call():
    class Derived(Scale):
        @property
        def twice(self):
            return 2

    seen = []

    def look(next_method, args, kwargs, context):
        seen.append((context.method_name, context.orig_class, args, kwargs))
        assert context.orig_method.__name__ == context.method_name
        return next_method(*args, **kwargs)

    def f():
        with ps.intercept_methods(look):
            module = Derived(name="d")
            module(x=1.0)
            return module.twice

    assert ps.transform(f).apply({"d": {"w": ONE}}, None) == 2
    assert seen == [
        ("__init__", Derived, (), {"name": "d"}),
        ("__call__", Scale, (), {"x": 1.0}),
        ("twice", Derived, (), {}),
    ]


def test_an_interceptor_around_transformed_functions():
    log = []
    f = ps.transform(lambda: Scale()(ONE))
    with ps.intercept_methods(interceptor(log, "i")):
        params = f.init(None)
        jax.eval_shape(f.apply, params, None)
    f.apply(params, None)
    assert log == [("i", "__init__"), ("/i", "__init__"), ("i", "__call__"), ("/i", "__call__")] * 2


def test_a_class_is_not_an_interceptor():
    with pytest.raises(ps.errors.ArgumentError, match="class Scale"):
        ps.intercept_methods(Scale)
