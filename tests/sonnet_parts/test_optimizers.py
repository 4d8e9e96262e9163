import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.errors import NoVariablesError, SonnetValueError
from purestate._sonnet.optimizers.base import Optimizer
from purestate.sonnet import optimizers
from tests.sonnet_parts.tables import (
    GRADIENTS,
    HYPERPARAMETERS,
    OPTIMIZER_IDS,
    OPTIMIZERS,
    PARAMETERS,
    recorded,
)

ROWS = pytest.mark.parametrize("row", range(len(OPTIMIZERS)), ids=OPTIMIZER_IDS)


def make(row):
    name, args, kwargs = OPTIMIZERS[row]
    return getattr(optimizers, name)(*args, **kwargs)


def variables():
    return [snt.Variable(jnp.array(value), name=key) for key, value in PARAMETERS]


def arrays(gradients):
    return [None if g is None else jnp.array(g) for g in gradients]


@ROWS
def test_apply_gives_the_numbers_of_sonnet(row):
    opt, parameters, expected = make(row), variables(), recorded("optimizers")[row]
    for gradients, step in zip(GRADIENTS, expected["steps"], strict=True):
        opt.apply(arrays(gradients), parameters)
        for parameter, value in zip(parameters, step, strict=True):
            np.testing.assert_allclose(parameter.numpy(), value, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("row", range(1, len(OPTIMIZERS)), ids=OPTIMIZER_IDS[1:])
def test_its_variables_have_the_names_and_values_of_sonnet(row):
    opt, parameters = make(row), variables()
    for gradients in GRADIENTS:
        opt.apply(arrays(gradients), parameters)
    expected = recorded("optimizers")[row]["slots"]
    kept = {v.name.split("/", 1)[1]: v.numpy() for v in opt.variables}
    # Variables of one name are numbered here: `w_1` if another test left a `w`.
    plain = {p.name: f"{key}:0" for p, (key, _) in zip(parameters, PARAMETERS, strict=True)}
    for mine, theirs in zip(kept, expected, strict=True):
        *slot, last = mine.split("/")
        assert "/".join([opt.name, *slot, plain.get(last, last)]) == theirs
        np.testing.assert_allclose(kept[mine], expected[theirs], rtol=2e-6, atol=1e-9)
    assert not any(v.trainable for v in opt.variables)


@ROWS
def test_update_of_optax_agrees_with_apply(row):
    opt, parameters = make(row), variables()
    params = [jnp.array(value) for _, value in PARAMETERS]
    state = opt.init(params)
    update = jax.jit(opt.update)
    for gradients in GRADIENTS:
        grads = [jnp.zeros([2]) if g is None else jnp.array(g) for g in gradients]
        opt.apply(grads, parameters)
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for value, parameter in zip(params, parameters, strict=True):
            np.testing.assert_allclose(value, parameter.numpy(), rtol=3e-6, atol=3e-6)


@ROWS
def test_in_a_chain_of_optax(row):
    opt = make(row)
    chain = optax.chain(optax.clip(0.2), opt, optax.scale(0.5))
    params = {key: jnp.array(value) for key, value in PARAMETERS}
    grads = dict(zip(params, arrays(GRADIENTS[0]), strict=True))
    out, _ = jax.jit(chain.update)(grads, chain.init(params), params)
    clipped = jax.tree.map(lambda g: jnp.clip(g, -0.2, 0.2), grads)
    alone, _ = opt.update(clipped, opt.init(params))
    for key in params:
        np.testing.assert_allclose(out[key], 0.5 * alone[key], rtol=1e-6)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_schedule_assigns_to_the_learning_rate(name):
    rate = snt.Variable(0.1, trainable=False, name="rate")
    opt = getattr(optimizers, name)(*((rate, 0.9) if name == "Momentum" else (rate,)))
    parameters = variables()
    for number, gradients in enumerate(GRADIENTS):
        rate.assign(0.1 / (number + 1))
        opt.apply(arrays(gradients), parameters)
    for parameter, value in zip(parameters, recorded("scheduled")[name], strict=True):
        np.testing.assert_allclose(parameter.numpy(), value, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_variable_as_learning_rate_is_no_constant_of_a_compiled_update(name):
    rate = snt.Variable(0.1, trainable=False, name="rate")
    opt = getattr(optimizers, name)(*((rate, 0.9) if name == "Momentum" else (rate,)))
    params = {"w": jnp.ones([2])}
    state = opt.init(params)
    eager = opt.update(params, state)[0]["w"]
    rate.assign(0.2)
    np.testing.assert_allclose(opt.update(params, state)[0]["w"], 2 * eager, rtol=1e-6)
    with pytest.raises(ps.errors.JaxUsageError, match="inside jax.jit"):
        jax.jit(opt.update)(params, state)


@ROWS
def test_apply_works_without_optax(row, monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    opt, parameters = make(row), variables()
    opt.apply(arrays(GRADIENTS[0]), parameters)
    expected = recorded("optimizers")[row]["steps"][0]
    np.testing.assert_allclose(parameters[1].numpy(), expected[1], rtol=2e-6)
    with pytest.raises(ps.errors.MissingPackageError, match="pip install optax"):
        opt.init({})


@ROWS
def test_errors_come_before_any_change(row):
    opt, parameters = make(row), variables()
    w, b = arrays(GRADIENTS[0])
    opt.apply([w, b], parameters)
    before = [p.numpy() for p in parameters]
    kept = [v.numpy() for v in snt.allow_empty_variables(opt).variables]
    for updates, given, message in [
        ([w], parameters, "got 1 for 2"),
        ([], [], "an empty list of parameters"),
        ([None, None], parameters, "are None"),
        ([w, b.astype(jnp.float16)], parameters, "float16"),
        ([w, jnp.ones([3])], parameters, r"shape \[3\]"),
        ([w, jnp.ones([2, 2])], parameters, r"shape \[2, 2\]"),
    ]:
        with pytest.raises(SonnetValueError, match=message):
            opt.apply(updates, given)
    for value, parameter in zip(before, parameters, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), value)
    for value, variable in zip(kept, opt.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("row", range(1, len(OPTIMIZERS)), ids=OPTIMIZER_IDS[1:])
def test_other_parameters_than_before(row):
    opt, parameters = make(row), variables()
    opt.apply(arrays(GRADIENTS[0]), parameters)
    with pytest.raises(SonnetValueError, match="now got 1"):
        opt.apply([jnp.ones([2])], parameters[1:])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@ROWS
def test_everything_stays_in_the_dtype_of_the_parameter(row, dtype):
    opt = make(row)
    w = snt.Variable(jnp.ones([2], dtype), name="w")
    opt.apply([jnp.full([2], 0.5, dtype)], [w])
    assert w.numpy().dtype == dtype
    slots = snt.allow_empty_variables(opt).variables
    assert {v.dtype.name for v in slots if v.shape} <= {dtype}


def test_within_a_transformed_function_parameters_do_not_change():
    def f():
        w = snt.Variable(1.0, name="w")
        optimizers.SGD(0.1).apply([jnp.ones([])], [w])

    pair = ps.transform_with_state(f)
    with pytest.raises(ps.errors.ImmutableCollectionError):
        pair.apply({"~": {"w": jnp.ones([])}}, {}, None)


def test_it_trains_a_module_outside():
    class Line(snt.Module):
        @snt.once
        def _initialize(self):
            self.w = snt.Variable(0.0, name="w")
            self.b = snt.Variable(0.0, name="b")

        def __call__(self, x):
            self._initialize()
            return self.w * x + self.b

    line, x = Line(), jnp.linspace(-1.0, 1.0, 9)
    line(x)
    opt = optimizers.Adam(0.3)
    for _ in range(60):
        error = line(x) - (3.0 * x - 1.0)
        opt.apply([2 * jnp.mean(error), 2 * jnp.mean(error * x)], line.trainable_variables)
    np.testing.assert_allclose([float(line.w), float(line.b)], [3.0, -1.0], atol=0.2)
    assert int(opt.step) == 60


def test_attributes_and_names():
    adam = optimizers.Adam()
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-8)
    assert (adam.m, adam.v, adam.name) == ([], [], "adam")
    rmsprop = optimizers.RMSProp(0.1)
    assert (rmsprop.decay, rmsprop.momentum, rmsprop.epsilon) == (0.9, 0.0, 1e-10)
    assert (rmsprop.centered, rmsprop.name) == (False, "rms_prop")
    assert optimizers.Momentum(0.1, 0.9, name="heavy").name == "heavy"
    with pytest.raises(NoVariablesError):
        optimizers.SGD(0.1).variables  # noqa: B018
    with pytest.raises(TypeError, match="abstract"):
        Optimizer()
