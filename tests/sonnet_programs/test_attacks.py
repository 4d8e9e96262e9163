"""What a user of Sonnet tries next: it works as in Sonnet, or the error says what to write."""

import dataclasses
import gc
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import JaxUsageError, MissingParameterError, MissingRNGError

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
IMAGE = jnp.linspace(-1.0, 1.0, 32).reshape(1, 4, 4, 2)

# A layer, an input, and an attribute that holds a weight.
LAYERS = {
    "Linear": (lambda: snt.Linear(2), X, "w"),
    "Linear, bias": (lambda: snt.Linear(2), X, "b"),
    "Bias": (lambda: snt.Bias(), X, "b"),
    "Conv2D": (lambda: snt.Conv2D(3, 2), IMAGE, "w"),
    "Conv2D, bias": (lambda: snt.Conv2D(3, 2), IMAGE, "b"),
    "Conv2DTranspose": (lambda: snt.Conv2DTranspose(3, 2), IMAGE, "w"),
    "DepthwiseConv2D": (lambda: snt.DepthwiseConv2D(2), IMAGE, "w"),
    "Embed": (lambda: snt.Embed(5, 3), jnp.array([1, 2]), "embeddings"),
    "LayerNorm": (lambda: snt.LayerNorm(-1, True, True), X, "scale"),
    "GroupNorm": (lambda: snt.GroupNorm(2), IMAGE, "offset"),
    "BatchNorm": (lambda: Training(snt.BatchNorm(True, True)), X, "scale"),
    "LSTM": (lambda: Step(snt.LSTM(3)), X, "b"),
    "GRU": (lambda: Step(snt.GRU(3)), X, "_w_i"),
    "VanillaRNN": (lambda: Step(snt.VanillaRNN(3)), X, "_b"),
    "Conv2DLSTM": (lambda: Step(snt.Conv2DLSTM([4, 4, 2], 3, 2)), IMAGE, "b"),
}


class Training:
    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x, is_training=True)


class Step:
    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x, self.layer.initial_state(x.shape[0]))[0]


@pytest.mark.parametrize("what", LAYERS)
def test_a_weight_may_be_replaced_by_an_array(what):
    make, x, name = LAYERS[what]
    call = make()
    layer = getattr(call, "layer", call)
    before = call(x)
    weight = getattr(layer, name)
    setattr(layer, name, weight + 0.5)
    replaced = call(x)
    assert not np.allclose(replaced, before)
    setattr(layer, name, weight)
    weight.assign_add(0.5 * jnp.ones(weight.shape))
    np.testing.assert_allclose(call(x), replaced, rtol=1e-5, atol=1e-6)


def test_shared_variables_have_their_whole_gradient_at_each_place():
    torso = snt.Linear(3)
    nets = [snt.Sequential([torso, snt.Linear(1)]) for _ in range(2)]
    loss = lambda: sum(jnp.sum(net(X)) for net in nets)
    loss()
    together = nets[0].trainable_variables + nets[1].trainable_variables
    _, grads = snt.value_and_grad(loss, together)()
    unique = list(dict.fromkeys(together))
    assert len(unique) < len(together)
    _, expected = snt.value_and_grad(loss, unique)()
    of = {id(v): grad for v, grad in zip(unique, expected, strict=True)}
    for variable, grad in zip(together, grads, strict=True):
        np.testing.assert_allclose(grad, of[id(variable)], rtol=1e-6)


class Learner:
    def __init__(self):
        self.net = snt.Linear(2)
        self.traces = 0

    @snt.function
    def step(self, x):
        self.traces += 1
        return self.net(x)


class LearnerModule(snt.Module):
    def __init__(self):
        super().__init__()
        self.net = snt.Linear(2)
        self.traces = 0

    @snt.function
    def step(self, x):
        self.traces += 1
        return self.net(x)


class CreatesInStep(snt.Module):
    def __init__(self):
        super().__init__()
        self.traces = 0

    @snt.once
    def _initialize(self):
        self.net = snt.Linear(2)

    @snt.function
    def __call__(self, x):
        self.traces += 1
        self._initialize()
        return self.net(x)

    step = __call__


@dataclasses.dataclass
class LearnerData:
    net: object = None
    traces: int = 0

    def __post_init__(self):
        self.net = snt.Linear(2)

    @snt.function
    def step(self, x):
        self.traces += 1
        return self.net(x)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("cls", [Learner, LearnerModule, CreatesInStep, LearnerData])
def test_a_compiled_method(cls):
    one, other = cls(), cls()
    for _ in range(4):
        y, z = one.step(X), other.step(X)
    np.testing.assert_allclose(y, X @ one.net.w + one.net.b, atol=1e-6)
    np.testing.assert_allclose(z, X @ other.net.w + other.net.b, atol=1e-6)
    assert 0 < one.traces < 4
    if isinstance(one, snt.Module):
        scope = "creates_in_step" if cls is CreatesInStep else "learner_module"
        assert [v.name for v in one.variables] == [f"{scope}/linear/b:0", f"{scope}/linear/w:0"]
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


CONSTANTS = {
    "a bool": (True, False),
    "a string": ("relu", "tanh"),
    "a module": (snt.Linear(2), snt.Linear(2)),
    "a function": (jnp.tanh, jnp.sin),
    "a structure": ({"flag": True, "rate": 0.5}, {"flag": False, "rate": 0.5}),
    "None": (None, True),
}


def by_constant(constant, x):
    if isinstance(constant, dict):
        return x * constant["rate"] if constant["flag"] else x
    if callable(constant):
        return constant(x)
    return x + 1.0 if constant in (True, "relu") else x


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("what", CONSTANTS)
def test_what_is_no_array_is_a_constant_of_a_compiled_function(what, inside):
    if inside and what == "a module":
        return  # it was made outside
    traces = []

    @snt.function
    def f(constant, x):
        traces.append(1)
        return by_constant(constant, x)

    run = lambda constant: (
        ps.transform(lambda x: f(constant, x)).apply({}, None, X) if inside else f(constant, X)
    )
    for constant in CONSTANTS[what]:
        np.testing.assert_allclose(run(constant), by_constant(constant, X), rtol=1e-6)
    if not inside:
        count = len(traces)
        f(CONSTANTS[what][0], X)
        assert len(traces) - count <= 1  # a module creates its variables in the first call
        count = len(traces)
        f(CONSTANTS[what][0], X)
        assert len(traces) == count


def test_numbers_are_arguments():
    traces = []

    @snt.function
    def f(n):
        traces.append(1)
        return 2 * n

    assert float(f(1)) == 2.0
    count = len(traces)
    assert [float(f(n)) for n in (2, 3)] == [4.0, 6.0]
    assert len(traces) == count


PLAIN = {
    "jit": jax.jit,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (c, f(x)), 0.0, None, length=2)[1],
    "checkpoint": lambda f: lambda x: jax.checkpoint(f)(x),
}


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("how", ["module", "function"])
@pytest.mark.parametrize("what", PLAIN)
def test_under_a_plain_transform_it_is_no_constant(what, how, called):
    linear = snt.Linear(2)
    f = snt.function(lambda x: linear(x)) if how == "function" else linear
    if called:
        f(X)
    with pytest.raises(JaxUsageError, match=r"snt\.function"):
        PLAIN[what](f)(X)
    assert f(X).shape == (4, 2)


class Own(snt.Module):
    """Makes its weights as Sonnet's users do: an initializer's value in a variable."""

    def __init__(self, init, change=lambda value: value):
        super().__init__()
        self.init, self.change = init, change

    @snt.once
    def _initialize(self, x):
        value = self.change(self.init([x.shape[-1], 2], x.dtype))
        self.w = snt.Variable(value, name="w")

    def __call__(self, x):
        self._initialize(x)
        return jnp.matmul(x, self.w)


RANDOM = {
    "RandomNormal": snt.initializers.RandomNormal,
    "RandomUniform": lambda: snt.initializers.RandomUniform(-1.0, 1.0),
    "TruncatedNormal": snt.initializers.TruncatedNormal,
    "VarianceScaling": snt.initializers.VarianceScaling,
    "Orthogonal": snt.initializers.Orthogonal,
}


@pytest.mark.parametrize("what", RANDOM)
def test_apply_needs_no_key_for_initial_values(what):
    pair = ps.transform_with_state(lambda x: Own(RANDOM[what]())(x))
    params, state = pair.init(jax.random.key(0), X)
    out, _ = jax.jit(pair.apply)(params, state, None, X)
    np.testing.assert_allclose(out, X @ params["own"]["w"], rtol=1e-6)
    assert np.unique(params["own"]["w"]).size > 1
    with pytest.raises(MissingRNGError):
        pair.init(None, X)
    with pytest.raises(MissingParameterError, match="own"):
        pair.apply({}, state, None, X)


@pytest.mark.parametrize(
    "use", [lambda v: 0.1 * v, jnp.abs, lambda v: v[:, :1], lambda v: v.T, lambda v: v.sum()]
)
def test_a_value_that_apply_uses_needs_a_key(use):
    pair = ps.transform_with_state(lambda x: Own(snt.initializers.RandomNormal(), use)(x))
    with pytest.raises(MissingRNGError):
        pair.apply({"own": {"w": jnp.ones([3, 2])}}, {}, None, X)


def test_an_interrupted_step_leaves_what_was():
    class Fails(snt.Module):
        def __init__(self):
            super().__init__()
            self.linear = snt.Linear(1)

        def __call__(self, x, fails):
            y = self.linear(x)
            if fails:
                raise KeyError("on purpose")
            return jnp.sum(y)

    net, opt = Fails(), snt.optimizers.Adam(0.1)
    net(X, False)

    @snt.function
    def step(x, fails):
        loss, grads = snt.value_and_grad(lambda: net(x, fails), net.trainable_variables)()
        opt.apply(grads, net.trainable_variables)
        return loss

    step(X, False)
    before = [v.numpy() for v in (*net.variables, *opt.variables)]
    with pytest.raises(KeyError):
        step(X, True)
    for value, variable in zip(before, (*net.variables, *opt.variables), strict=True):
        np.testing.assert_array_equal(variable, value)
    step(X, False)
    assert int(opt.step) == 2


def test_generators_and_threads_keep_scopes_apart():
    class Chain(snt.Module):
        def __init__(self):
            super().__init__()
            self.linear = snt.Linear(3)

        def steps(self, x):
            for _ in range(2):
                x = self.linear(x)
                yield x

    a, b = Chain(), Chain()
    for x, y in zip(a.steps(X), b.steps(X), strict=True):
        assert x.shape == y.shape
    paths = {v.path for net in (a, b) for v in net.variables}
    assert len(paths) == 4
    losses = []

    def train():
        net, opt = snt.nets.MLP([4, 1]), snt.optimizers.SGD(0.1)
        loss = lambda: jnp.mean(net(X) ** 2)
        first = float(loss())
        for _ in range(3):
            _, grads = snt.value_and_grad(loss, net.trainable_variables)()
            opt.apply(grads, net.trainable_variables)
        losses.append((first, float(loss())))

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(losses) == 3
    assert all(last < first for first, last in losses)


def test_names_do_not_depend_on_what_else_the_process_made():
    first, second = (snt.nets.MLP([4, 2], name="net") for _ in range(2))
    first(X), second(X)
    saved = {v.name: v.numpy() for v in first.variables}
    assert list(saved) == [f"net/linear_{i}/{name}:0" for i in range(2) for name in "bw"]
    for variable in second.variables:
        variable.assign(saved[variable.name])
    np.testing.assert_array_equal(first(X), second(X))
    assert first.name_scope.name == second.name_scope.name == "net/"


def test_many_modules_and_variables_of_one_name():
    net = snt.Sequential([snt.Linear(3, name="layer") for _ in range(300)])
    net(X)
    lone = [snt.Variable(0.0, name="same") for _ in range(300)]
    assert len({v.path for v in (*net.variables, *lone)}) == 900
    assert {v.name for v in lone} == {"same:0"}
