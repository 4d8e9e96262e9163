"""`once`: methods once for each object, functions once, and each trace by itself."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
import purestate.sonnet as snt


def test_a_function_runs_once():
    runs = []

    @snt.once
    def f():
        runs.append(1)

    f()
    f()
    assert runs == [1]


def test_a_method_runs_once_for_each_object():
    runs = []

    class Plain:
        @snt.once
        def start(self):
            runs.append(self)

    a, b = Plain(), Plain()
    for one in (a, b, a, b):
        one.start()
    assert runs == [a, b]


def test_two_methods_of_one_module_are_told_apart():
    class Net(snt.Module):
        @snt.once
        def one(self):
            self.log.append(1)

        @snt.once
        def two(self):
            self.log.append(2)

        def __call__(self):
            self.log = []
            for method in (self.one, self.two, self.one, self.two):
                method()
            return self.log

    assert Net()() == [1, 2]
    assert ps.transform_with_state(lambda: Net()()).apply({}, {}, None)[0] == [1, 2]


def test_after_an_error_it_has_not_run():
    class Net(snt.Module):
        tries = 0

        @snt.once
        def start(self):
            self.tries += 1
            if self.tries == 1:
                raise KeyError("first")

    net = Net()
    with pytest.raises(KeyError):
        net.start()
    net.start()
    net.start()
    assert net.tries == 2


def test_a_result_is_an_error():
    @snt.once
    def f():
        return 3

    with pytest.raises(ValueError, match="attribute"):
        f()


def test_what_a_look_ahead_has_made_is_made_again():
    """`ps.eval_shape` runs the method in a trace that is thrown away."""

    class Net(snt.Module):
        @snt.once
        def _initialize(self, x):
            self.scale = snt.Variable(jnp.ones(x.shape[-1]), name="scale")

        def __call__(self, x):
            self._initialize(x)
            return x * self.scale

    def f(x):
        net = Net()
        ps.eval_shape(net, x)
        return net(x)

    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0), jnp.ones([2, 3]))
    assert params["net"]["scale"].shape == (3,)
    assert pair.apply(params, state, None, jnp.ones([2, 3]))[0].shape == (2, 3)
