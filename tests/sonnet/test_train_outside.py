"""`snt.value_and_grad` and `snt.function`, against pure functions of the same modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
Y = jnp.linspace(0.0, 1.0, 4).reshape(4, 1)


class Net(snt.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.mlp = snt.nets.MLP([5, 1], activation=jnp.tanh)
        self.norm = snt.BatchNorm(True, True, decay_rate=0.5)

    def __call__(self, x, is_training=True):
        return self.mlp(self.norm(x, is_training=is_training))


def loss_of(net, x, y):
    return jnp.mean((net(x) - y) ** 2)


def made():
    net = snt.bind(Net, 0, X)
    values = {path: variable.value() for path, variable in by_path(net).items()}
    return net, values


def by_path(net):
    paths = snt.attribute_paths(net)
    held = {variable.path: variable for variable in net.variables}
    return {attribute: held[path] for attribute, path in paths.items()}


def pure(net):
    """The loss as a pure function of the values by attribute path, by assigning them."""
    pair = snt.functional.transform_with_state(lambda x, y: loss_of(net, x, y))
    return pair, pair.init(X, Y)


def test_gradients_and_state_are_those_of_the_pure_function():
    net, _ = made()
    pair, (params, state) = pure(net)
    (expected, new_state), grads = jax.value_and_grad(pair.apply, has_aux=True)(params, state, X, Y)
    variables = net.trainable_variables
    value, actual = snt.value_and_grad(lambda x, y: loss_of(net, x, y), variables)(X, Y)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for variable, grad in zip(variables, actual, strict=True):
        module, name = variable.path
        np.testing.assert_allclose(grad, grads[module][name], atol=1e-6)
    for variable in net.variables:
        if not variable.trainable:
            module, name = variable.path
            np.testing.assert_allclose(variable, new_state[module][name], rtol=1e-6)


def test_an_auxiliary_result():
    net, _ = made()

    def with_outputs(x):
        out = net(x)
        return jnp.sum(out), {"out": out}

    (_, aux), grads = snt.value_and_grad(with_outputs, net.trainable_variables, has_aux=True)(X)
    assert aux["out"].shape == (4, 1)
    assert len(grads) == len(net.trainable_variables)


def test_it_works_in_a_transformed_function():
    def f(x):
        net = snt.Linear(1)
        net(x)
        return snt.value_and_grad(lambda: jnp.sum(net(x) ** 2), net.trainable_variables)()

    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0), X)
    (_, (b, w)), _ = jax.jit(pair.apply)(params, state, None, X)
    out = X @ params["linear"]["w"] + params["linear"]["b"]
    np.testing.assert_allclose(b, 2 * out.sum(0), rtol=1e-5)
    np.testing.assert_allclose(w, 2 * X.T @ out, rtol=1e-5)


def test_arrays_are_an_error():
    with pytest.raises(TypeError, match=r"jax\.value_and_grad"):
        snt.value_and_grad(lambda: 0.0, [jnp.ones(3)])


OPTIMIZERS = {
    "sgd": lambda: snt.optimizers.SGD(0.1),
    "momentum": lambda: snt.optimizers.Momentum(0.1, 0.9),
    "adam": lambda: snt.optimizers.Adam(0.1),
    "rmsprop": lambda: snt.optimizers.RMSProp(0.1),
}


def steps(net, opt, number, wrap):
    @wrap
    def step(x, y):
        variables = net.trainable_variables
        loss, grads = snt.value_and_grad(lambda: loss_of(net, x, y), variables)()
        opt.apply(grads, variables)
        return loss

    return [float(step(X, Y)) for _ in range(number)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_step_is_the_eager_one(name):
    (eager, _), (compiled, _) = made(), made()
    expected = steps(eager, OPTIMIZERS[name](), 4, lambda f: f)
    actual = steps(compiled, OPTIMIZERS[name](), 4, snt.function)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    assert expected[-1] < expected[0]
    for a, b in zip(compiled.variables, eager.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_a_compiled_function_sees_present_values_and_is_traced_once():
    net, _ = made()
    traces = []

    @snt.function
    def f(x):
        traces.append(1)
        return net(x, is_training=False)

    first = f(X)
    np.testing.assert_allclose(first, net(X, is_training=False), atol=1e-6)
    count = len(traces)
    net.mlp.variables[0].assign_add(jnp.ones(5))
    np.testing.assert_allclose(f(X), net(X, is_training=False), atol=1e-6)
    snt.Linear(9)(X)  # another module changes nothing
    f(X)
    assert len(traces) == count


def test_a_compiled_function_may_create_variables():
    net = Net()

    @snt.function
    def f(x):
        return net(x)

    first = f(X)
    assert len(net.variables) == 12
    counter = by_path(net)["norm/moving_mean/_counter"]
    assert int(counter) == 1  # traced more than once, and run once
    f(X)
    assert int(counter) == 2
    assert first.shape == (4, 1)


def test_random_keys_differ_between_calls():
    @snt.function
    def f(x):
        return snt.Dropout(0.5)(x, is_training=True)

    assert not np.array_equal(f(jnp.ones([50])), f(jnp.ones([50])))


def test_after_an_error_it_is_as_before():
    net = snt.Linear(2)

    @snt.function
    def f(x, fails):
        y = net(x)
        if fails:
            raise KeyError("on purpose")
        return y

    g = snt.function(f.fun, static_argnames=("fails",))
    with pytest.raises(KeyError):
        g(X, fails=True)
    assert g(X, fails=False).shape == (4, 2)
    assert [v.name.rpartition("/")[2] for v in net.variables] == ["b:0", "w:0"]


def test_options_by_position_are_an_error():
    with pytest.raises(ValueError, match="static_argnames"):
        snt.function(lambda x: x, static_argnums=0)


def test_inside_a_transformed_function_it_is_compiled_there():
    linear = []

    @snt.function
    def f(x):
        return linear[-1](x)

    def g(x):
        linear.append(snt.Linear(2))
        return f(x)

    pair = ps.transform_with_state(g)
    params, state = pair.init(jax.random.key(0), X)
    np.testing.assert_allclose(
        pair.apply(params, state, None, X)[0], X @ params["linear"]["w"], atol=1e-6
    )
