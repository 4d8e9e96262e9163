import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate.sonnet as snt
from purestate._sonnet import functional_optimizers
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.optimizers.base import Optimizer
from tests.sonnet_parts.tables import GRADIENTS, OPTIMIZER_IDS, OPTIMIZERS, PARAMETERS, recorded

PARAMS = {"net": {key: jnp.array(value) for key, value in PARAMETERS}}


def updates(gradients):
    return {"net": {key: g for (key, _), g in zip(PARAMETERS, gradients, strict=True)}}


@pytest.mark.parametrize("row", range(len(OPTIMIZERS)), ids=OPTIMIZER_IDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_numbers_are_those_of_sonnet(row, compiled):
    name, args, kwargs = OPTIMIZERS[row]
    opt = getattr(functional_optimizers, name.lower())(*args, **kwargs)
    apply = jax.jit(opt.apply) if compiled else opt.apply
    params, state = PARAMS, opt.init(PARAMS)
    for gradients in GRADIENTS:
        # The recording has zeros in place of None.
        given = [jnp.zeros([2]) if g is None else jnp.array(g) for g in gradients]
        params, state = apply(state, updates(given), params)
    for (key, _), value in zip(PARAMETERS, recorded("functional")[row], strict=True):
        np.testing.assert_allclose(params["net"][key], value, rtol=2e-6, atol=2e-7)


def test_the_state():
    opt = functional_optimizers.adam(0.1)
    state = opt.init(PARAMS)
    shapes = {k: jnp.shape(jnp.array(v)) for k, v in PARAMETERS}
    expected = {"adam": {"t": ()}, "adam/m/net": shapes, "adam/v/net": shapes}
    assert jax.tree.map(jnp.shape, state) == expected
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state))
    _, state = opt.apply(state, PARAMS, PARAMS)
    assert int(state["adam"]["t"]) == 1


def test_none_skips_a_parameter():
    opt = functional_optimizers.momentum(0.1, 0.9)
    state = opt.init(PARAMS)
    params, new = opt.apply(state, updates([jnp.ones([2, 3]), None]), PARAMS)
    np.testing.assert_array_equal(params["net"]["b"], PARAMS["net"]["b"])
    assert not np.any(new["momentum/accumulated_momentum/net"]["b"])
    assert np.all(new["momentum/accumulated_momentum/net"]["w"] == 1.0)


def test_params_of_any_structure():
    opt = functional_optimizers.sgd(0.5)
    params = [jnp.ones([2]), (jnp.zeros([]), {"a": jnp.ones([1])})]
    new, state = opt.apply(opt.init(params), params, params)
    assert jax.tree.map(lambda x: x.tolist(), new) == [[0.5, 0.5], (0.0, {"a": [0.5]})]
    assert state == {}


def test_hyperparameters_may_be_traced_and_gradients_flow():
    def after(rate):
        opt = functional_optimizers.sgd(rate)
        params, _ = opt.apply(opt.init(PARAMS), PARAMS, PARAMS)
        return jnp.sum(params["net"]["b"])

    np.testing.assert_allclose(jax.jit(jax.grad(after))(0.1), -jnp.sum(PARAMS["net"]["b"]))


def test_a_class_of_your_own():
    class Halving(Optimizer):
        def __init__(self, factor, name=None):
            super().__init__(name)
            self.factor = factor
            self.calls = snt.Variable(0, trainable=False, name="calls")

        def apply(self, updates, parameters):
            self.calls.assign_add(1)
            for update, parameter in zip(updates, parameters, strict=True):
                assert parameter.name in ("net/w:0", "net/b:0")
                parameter.assign(self.factor * parameter + 0 * update)

    opt = functional_optimizers.optimizer(Halving)(factor=0.5)
    params, state = opt.apply(opt.init(PARAMS), PARAMS, PARAMS)
    np.testing.assert_array_equal(params["net"]["w"], PARAMS["net"]["w"] / 2)
    assert int(state["halving"]["calls"]) == 1
    make = functional_optimizers.optimizer(Halving)
    assert (make.__name__, str(inspect.signature(make))) == ("halving", "(factor, name=None)")


def test_errors():
    opt = functional_optimizers.sgd(0.1)
    state = opt.init(PARAMS)
    with pytest.raises(SonnetValueError, match="an update for each parameter"):
        opt.apply(state, {"net": {"w": jnp.ones([2, 3])}}, PARAMS)
    with pytest.raises(SonnetValueError, match="shape"):
        opt.apply(state, updates([jnp.ones([2, 4]), jnp.ones([2])]), PARAMS)
