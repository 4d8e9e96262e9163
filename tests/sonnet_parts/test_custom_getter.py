import collections
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.custom_getter import custom_variable_getter

Two = collections.namedtuple("Two", "a b")


class Scale(snt.Module):
    def __init__(self, factor=2.0, name=None):
        super().__init__(name=name)
        self.w = snt.Variable(factor, name="w")
        self.note = "plain"

    def __call__(self, x):
        return x * self.w


class Child(Scale):
    pass


class Nested(snt.Module):
    def __init__(self):
        super().__init__()
        self.parts = {
            "b": [snt.Variable(1.0, name="x"), 5],
            "a": Two(snt.Variable(2.0, name="y"), "t"),
        }
        self.plain = [1, 2]


def double(v):
    return 2 * v


def test_the_getter_applies_in_the_block_only():
    scale = Scale()
    with custom_variable_getter(double):
        assert scale(1.0) == 4.0
        assert isinstance(scale.w, jax.Array)
        assert scale.note == "plain"
    assert scale(1.0) == 2.0
    assert isinstance(scale.w, snt.Variable)
    assert "__getattribute__" not in vars(snt.Module)


def test_structures():
    nested = Nested()
    plain = nested.plain
    with custom_variable_getter(double):
        (x, five), (y, text) = nested.parts["b"], nested.parts["a"]
        assert (float(x), five, float(y), text) == (2.0, 5, 4.0, "t")
        assert list(nested.parts) == ["b", "a"]
        assert isinstance(nested.parts["a"], Two)
        assert nested.plain is plain


def test_of_nested_blocks_the_outermost_decides():
    """As in the real Sonnet, where the inner getter finds no variable any more."""
    scale, child = Scale(3.0), Child(3.0)
    with custom_variable_getter(double), custom_variable_getter(lambda v: v + 1):
        assert scale(1.0) == 6.0
    with custom_variable_getter(lambda v: v + 1), custom_variable_getter(double):
        assert scale(1.0) == 4.0
    with custom_variable_getter(double, classes=[Child]), custom_variable_getter(lambda v: v + 1):
        assert [float(scale(1.0)), float(child(1.0))] == [4.0, 6.0]
    with custom_variable_getter(lambda v: v + 1), custom_variable_getter(double, classes=[Child]):
        assert [float(scale(1.0)), float(child(1.0))] == [4.0, 4.0]


def test_classes_and_instances():
    scale, other, child = Scale(), Scale(), Child()
    read = lambda: [float(module(1.0)) for module in (scale, other, child)]
    with custom_variable_getter(double, classes=[Child]):
        assert read() == [2.0, 2.0, 4.0]
    with custom_variable_getter(double, classes=[Scale]):
        assert read() == [4.0, 4.0, 4.0]
    with custom_variable_getter(double, instances={other}):
        assert read() == [2.0, 4.0, 2.0]
    with custom_variable_getter(double, classes=[snt.Module], instances=[child, scale]):
        assert read() == [4.0, 2.0, 4.0]
    with custom_variable_getter(double, instances=[]):
        assert read() == [2.0, 2.0, 2.0]
    assert read() == [2.0, 2.0, 2.0]


def test_blocks_in_two_threads_may_end_in_any_order():
    child, started, ended = Child(), threading.Event(), threading.Event()
    seen = []

    def run():
        with custom_variable_getter(lambda v: v + 1):
            started.set()
            ended.wait()
            seen.append(float(child(1.0)))

    thread = threading.Thread(target=run)
    with custom_variable_getter(double, classes=[Child, snt.Module]):
        thread.start()
        started.wait()
        assert child(1.0) == 4.0
    ended.set()
    thread.join()
    assert seen == [3.0]
    assert child(1.0) == 2.0
    for cls in (Child, Scale, snt.Module):
        assert "__getattribute__" not in vars(cls)


def test_a_class_with_a_getattribute_of_its_own_keeps_it():
    class Own(Scale):
        def __getattribute__(self, name):
            return 7.0 if name == "seven" else super().__getattribute__(name)

    own, mine = Own(), Own.__getattribute__
    with custom_variable_getter(double, classes=[Own]):
        assert (own.seven, float(own(1.0))) == (7.0, 4.0)
    assert Own.__getattribute__ is mine
    assert (own.seven, float(own(1.0))) == (7.0, 2.0)


def test_other_threads_do_not_see_it():
    scale, seen = Scale(), []
    with custom_variable_getter(double):
        thread = threading.Thread(target=lambda: seen.append(float(scale(1.0))))
        thread.start()
        thread.join()
    assert seen == [2.0]


def test_after_an_error_it_is_gone():
    scale = Scale()
    with pytest.raises(RuntimeError), custom_variable_getter(double):
        raise RuntimeError
    assert scale(1.0) == 2.0


def test_in_a_transformed_function_gradients_stop():
    def f(x, stop):
        scale = Scale()
        if not stop:
            return scale(x)
        with custom_variable_getter(jax.lax.stop_gradient):
            return scale(x)

    apply = ps.transform_with_state(f).apply
    params = {"scale": {"w": jnp.float32(3.0)}}
    loss = lambda params, stop: apply(params, {}, None, 5.0, stop)[0]
    assert jax.grad(loss)(params, False)["scale"]["w"] == 5.0
    assert jax.grad(loss)(params, True)["scale"]["w"] == 0.0


def test_a_block_around_a_compiled_function_counts():
    f = ps.transform_with_state(lambda x: Scale()(x))
    params, state = f.init(None, 1.0)
    apply = jax.jit(f.apply)
    read = lambda: float(apply(params, state, None, 1.0)[0])
    assert read() == 2.0
    with custom_variable_getter(double):
        assert read() == 4.0
    assert read() == 2.0


def test_the_same_getter_traces_once():
    traces = []

    def f(x):
        traces.append(1)
        return Scale()(x)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, 1.0)
    apply = jax.jit(pair.apply)
    traces.clear()
    for _ in range(3):
        with custom_variable_getter(double):
            np.testing.assert_allclose(apply(params, state, None, 1.0)[0], 4.0)
    assert len(traces) == 1


@pytest.mark.parametrize("compile_", [False, True])
def test_a_net_sees_each_variable_once(compile_):
    """As in the real Sonnet, where the outputs were those of doubled weights, difference 0."""

    def doubled(x):
        net = snt.nets.MLP([4, 2])
        with custom_variable_getter(double):
            return net(x)

    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    plain = ps.transform_with_state(lambda x: snt.nets.MLP([4, 2])(x))
    pair = ps.transform_with_state(doubled)
    params, state = plain.init(jax.random.key(0), x)
    apply = jax.jit(pair.apply) if compile_ else pair.apply
    expected = plain.apply(jax.tree.map(double, params), state, None, x)[0]
    np.testing.assert_allclose(apply(params, state, None, x)[0], expected, rtol=1e-6)
