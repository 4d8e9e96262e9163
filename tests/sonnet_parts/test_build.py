import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.build import build
from purestate._sonnet.dropout import Dropout
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import RandomNormal
from purestate._sonnet.metrics import Mean
from purestate._sonnet.moving_averages import ExponentialMovingAverage

TRACED = []


class Net(snt.Module):
    """A layer with a weight, dropout, running statistics, and a module made in its call."""

    @snt.once
    def _initialize(self, x):
        self.w = snt.Variable.create("w", [x.shape[-1], 4], x.dtype, RandomNormal())
        self.mean = Mean()
        self.ema = ExponentialMovingAverage(0.9)
        self.steps = snt.Variable(0, trainable=False, name="steps")

    def __call__(self, x, is_training=True):
        TRACED.append(isinstance(x, jax.core.Tracer))
        self._initialize(x)
        self.steps.assign_add(1)
        y = x @ self.w
        self.mean(y.mean(0))
        self.ema(y.mean(0))
        return {"y": Dropout(0.5)(y, is_training), "n": 3, "none": None}


def test_outside_variables_are_created_and_nothing_else_happens():
    net = Net()
    spec = build(net, [5, 3])
    assert TRACED[-1]
    assert spec == {
        "y": jax.ShapeDtypeStruct((5, 4), jnp.float32),
        "n": jax.ShapeDtypeStruct((), jnp.int32),
        "none": None,
    }
    kept = {v.name.split("/", 1)[1]: v.numpy() for v in net.variables}
    assert sorted(kept) == [
        "exponential_moving_average/average:0",
        "exponential_moving_average/counter:0",
        "exponential_moving_average/hidden:0",
        "mean/count:0",
        "mean/sum:0",
        "steps:0",
        "w:0",
    ]
    for name, value in kept.items():
        assert isinstance(value, np.ndarray)
        assert np.all(value == 0) == (name != "w:0")
    before = net.w.numpy()
    net(jnp.ones([2, 3]))
    np.testing.assert_array_equal(net.w.numpy(), before)
    assert int(net.steps) == int(net.mean.count) == int(net.ema._counter) == 1


def test_what_is_there_stays():
    net = Net()
    net(jnp.ones([2, 3]))
    before = [v.numpy() for v in net.variables]
    build(net, (7, 3), is_training=False)
    for variable, value in zip(net.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_in_a_transformed_function_the_variables_are_those_of_a_call():
    def built(x):
        net = Net()
        build(net, list(x.shape))
        return net(x)

    x = jnp.ones([5, 3])
    pair = ps.transform_with_state(built)
    params, state = pair.init(jax.random.key(0), x)
    plain_params, plain_state = ps.transform_with_state(lambda x: Net()(x)).init(
        jax.random.key(0), x
    )
    assert jax.tree.all(jax.tree.map(np.allclose, (params, state), (plain_params, plain_state)))
    jitted = jax.jit(pair.init)(jax.random.key(0), x)
    assert jax.tree.all(jax.tree.map(np.allclose, (params, state), jitted))
    _, state = jax.jit(pair.apply)(params, state, jax.random.key(1), x)
    assert int(state["net"]["steps"]) == 1
    assert int(state["net/mean"]["count"]) == 1


def test_arguments():
    seen = []

    def f(*args, **kwargs):
        seen.append((args, kwargs))
        return args

    struct = jax.ShapeDtypeStruct((2,), jnp.int32)
    array = jnp.ones([4])
    out = build(f, [2, 3], (), struct, array, "text", True, nested={"x": struct})
    args, kwargs = seen[-1]
    assert [getattr(arg, "shape", arg) for arg in args] == [(2, 3), (), (2,), (4,), "text", True]
    assert args[2].dtype == kwargs["nested"]["x"].dtype == jnp.int32
    assert out[:4] == (
        jax.ShapeDtypeStruct((2, 3), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.float32),
        struct,
        jax.ShapeDtypeStruct((4,), jnp.float32),
    )
    assert out[4:] == ("text", jax.ShapeDtypeStruct((), jnp.bool_))


def test_a_function_of_modules():
    nets = [Net(), Net(name="other")]
    spec = build(lambda x: nets[1](nets[0](x)["y"])["y"], [2, 3])
    assert spec.shape == (2, 4)
    assert [net.w.shape for net in nets] == [(3, 4), (4, 4)]


def test_a_size_that_is_not_known():
    with pytest.raises(SonnetValueError, match=r"in place of None, such as \[1, 3\]"):
        build(Net(), [None, 3])


def test_an_error_leaves_no_variables():
    class Broken(snt.Module):
        @snt.once
        def _initialize(self):
            self.w = snt.Variable(1.0, name="w")

        def __call__(self, x):
            self._initialize()
            if x.shape[0] == 2:
                raise RuntimeError("broken")
            return x * self.w

    module = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        build(module, [2])
    build(module, [3])
    assert [v.numpy().tolist() for v in module.variables] == [1.0]


def test_no_output_is_compiled():
    """The program that creates the variables has no product of matrices."""
    lowered = []
    jit = jax.jit

    def spying(f):
        compiled = jit(f)
        lowered.append(lambda *args: compiled.lower(*args).compile().as_text())
        return lambda *args: (texts.append(lowered[-1](*args)), compiled(*args))[1]

    texts = []
    try:
        jax.jit = spying
        build(Net(), [5, 3])
    finally:
        jax.jit = jit
    assert len(texts) == 1
    assert " dot(" not in texts[0]


def test_within_a_transform_of_purestate():
    def f(x):
        net = Net()
        build(lambda x: ps.scan(lambda carry, y: (carry, net(y[None])["y"]), 0, x), list(x.shape))
        return net(x, False)["y"]

    x = jnp.ones([5, 3])
    params, state = ps.transform_with_state(f).init(jax.random.key(0), x)
    assert params["net"]["w"].shape == (3, 4)
    assert int(state["net"]["steps"]) == 0


def test_in_a_plain_jit_a_module_outside_gets_no_variables():
    net = Net()
    with pytest.raises(ps.errors.JaxUsageError):
        jax.jit(lambda: build(net, [5, 3])["n"].shape)()
    net(jnp.ones([2, 3]))
    assert int(net.steps) == 1
