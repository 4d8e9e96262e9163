"""Modules that are made and called outside a transformed function keep their variables."""

import gc
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.outside import OUTSIDE
from purestate.errors import CallError, JaxUsageError

X = jnp.ones([4, 3])


class Counter(snt.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.count = snt.Variable(0.0, trainable=False, name="count")
        self.linear = snt.Linear(2)

    def __call__(self, x):
        self.count.assign_add(1.0)
        return self.linear(x)


def test_a_module_keeps_its_variables():
    net = Counter()
    first = net(X)
    np.testing.assert_array_equal(net(X), first)
    assert float(net.count) == 2.0
    np.testing.assert_allclose(first, X @ net.linear.w + net.linear.b)
    net.linear.b.assign([1.0, 2.0])
    np.testing.assert_allclose(net(X) - first, jnp.tile(jnp.array([1.0, 2.0]), (4, 1)))


def test_modules_of_one_name_have_variables_of_their_own():
    a, b = snt.Linear(2), snt.Linear(2)
    assert a.module_name != b.module_name
    assert a.name == b.name == "linear"
    a(X), b(X)
    assert not np.array_equal(a.w.numpy(), b.w.numpy())


def test_a_module_of_modules_from_outside_shares_their_variables():
    inner = snt.Linear(2)
    net = snt.Sequential([inner, jnp.tanh])
    np.testing.assert_allclose(net(X), jnp.tanh(inner(X)))
    assert [v.path for v in net.variables] == [v.path for v in inner.variables]


def test_the_seed_decides_the_initial_values():
    def values(seed):
        snt.set_seed(seed)
        net = snt.Linear(2)
        net(X)
        return net.w.numpy()

    np.testing.assert_array_equal(values(1), values(1))
    assert not np.array_equal(values(1), values(2))


@pytest.mark.parametrize("rng", [3, jax.random.key(3)])
def test_bind_draws_from_a_key(rng):
    net = snt.bind(lambda: snt.Linear(2), rng, X)
    again = snt.bind(lambda: snt.Linear(2), rng, X)
    np.testing.assert_array_equal(net.w, again.w)
    assert snt.allow_empty_variables(snt.bind(lambda: snt.Linear(2), rng)).variables == ()


def test_its_variables_end_with_a_module():
    net = Counter()
    net(X)
    paths = {variable.path[0] for variable in net.variables}
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    snt.Variable(0.0)  # the next use of the frame drops them
    kept = OUTSIDE.frame.collections
    assert not paths & (kept["params"].values.keys() | kept["state"].values.keys())


def test_a_variable_outlives_its_module():
    net = snt.Linear(2)
    net(X)
    w, value = net.w, net.w.numpy()
    del net
    gc.collect()
    np.testing.assert_array_equal(w, value)


@pytest.mark.parametrize("compile_", [jax.jit, lambda f: lambda x: jax.make_jaxpr(f)(x)])
def test_reading_it_in_a_compiled_function_is_an_error(compile_):
    net = Counter()
    net(X)
    with pytest.raises(JaxUsageError, match=r"snt\.function"):
        compile_(lambda x: net.linear(x))(X)


def test_setting_it_under_a_plain_transform_is_an_error():
    net = Counter()
    net(X)
    with pytest.raises(JaxUsageError):
        jax.vmap(lambda x: net.count.assign(x.sum()).value())(X)
    assert float(net.count) == 1.0


def test_it_may_be_read_under_plain_grad_and_vmap():
    linear = snt.Linear(2)
    linear(X)
    grad = jax.grad(lambda x: jnp.sum(linear(x)))(X)
    np.testing.assert_allclose(grad, jnp.ones([4, 2]) @ linear.w.T, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda x: linear(x[None])[0])(X), linear(X), rtol=1e-6)


def test_inside_a_transformed_function_it_is_an_error():
    net = snt.Linear(2)
    net(X)
    with pytest.raises(ValueError, match=r"snt\.functional\.transform_with_state"):
        ps.transform_with_state(lambda x: net(x)).init(jax.random.key(0), X)


def test_errors_name_the_module_and_the_call():
    class Net(snt.Module):
        def __call__(self, x):
            return x @ jnp.ones([7, 2])

    with pytest.raises((CallError, TypeError)) as caught:
        Net()(X)
    assert "Net.__call__" in "".join(caught.value.__notes__)


def test_threads_take_turns():
    net = Counter()
    net(X)
    threads = [threading.Thread(target=lambda: [net(X) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert float(net.count) == 81.0


def test_other_transforms_of_purestate_work_outside_too():
    net = Counter()
    net(X)

    @snt.function
    def total(x):
        return ps.scan(lambda c, _: (c + net(X).sum(), None), x, None, length=3)[0]

    out = total(0.0)
    assert float(net.count) == 4.0
    np.testing.assert_allclose(out, 3 * net.linear(X).sum(), rtol=1e-5)
