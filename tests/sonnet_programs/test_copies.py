"""`copy.deepcopy` and pickle of modules and of what holds them, and when variables end."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.outside import OUTSIDE
from purestate.errors import MissingStateError

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


class Net(snt.Module):
    """Holds modules and variables in each way that an attribute can."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.layers = [snt.Linear(3), (abs, snt.Linear(3))]
        self.heads = {"b": snt.Linear(2), "a": snt.nets.MLP([4, 2], activation=abs)}
        self.again = self.heads["b"]
        self.scale = snt.Variable(jnp.ones(3), name="scale")
        self.calls = snt.Variable(0, trainable=False, name="calls")
        self.norm = snt.BatchNorm(True, True)
        self.method = self.heads["a"].__call__

    @snt.once
    def _initialize(self, x):
        self.shift = snt.Variable(jnp.zeros(x.shape[-1]), name="shift")
        self.late = snt.Linear(3)

    def __call__(self, x, is_training=True):
        self._initialize(x)
        self.calls.assign_add(1)
        x = self.layers[0](x) * self.scale + self.shift
        x = self.late(self.layers[1][1](self.layers[1][0](x)))
        x = self.norm(x, is_training=is_training)
        return self.again(x) + self.method(x)


MADE = {
    "Net": Net,
    "Linear": lambda: snt.Linear(2),
    "Sequential with a lambda": lambda: snt.Sequential([snt.Linear(2), lambda x: 2 * x]),
    "MLP": lambda: snt.nets.MLP([4, 2], activation=abs, name="mlp_3"),
    "modules from elsewhere": lambda: snt.Sequential([Net(), snt.Linear(2)]),
    "lone variables": lambda: Lone(),
    "subclass": lambda: Doubled(2),
    "BatchNorm": lambda: snt.Sequential([snt.BatchNorm(True, True)]),
    "core": lambda: Core(snt.DeepRNN([snt.Linear(3), abs, snt.GRU(4)])),
    "trainable state": lambda: Core(snt.LSTM(4)),
}


class Lone(snt.Module):
    def __init__(self):
        super().__init__()
        self.held = [snt.Linear(2)]

    @snt.no_name_scope
    def __call__(self, x):
        if len(self.held) == 1:
            self.held.append(snt.Variable(jnp.ones(2), name="v"))
            self.held.append(snt.Variable(2 * jnp.ones(2), name="v"))
        return self.held[0](x) * self.held[1] + self.held[2]


class Doubled(snt.Linear):
    def __call__(self, x):
        return 2.0 * super().__call__(x)


class Core(snt.Module):
    def __init__(self, core):
        super().__init__()
        self.core = core
        self.start = snt.TrainableState(jax.tree.map(lambda x: x[0], core.initial_state(1)))

    def __call__(self, x):
        return snt.static_unroll(self.core, x[:, None], self.start(1))[0]


def run(net, x=X):
    batch_norm = isinstance(net, snt.Sequential) and isinstance(net.submodules[0], snt.BatchNorm)
    return net(x, is_training=True) if batch_norm else net(x)


def values(net):
    return [variable.numpy() for variable in net.variables]


def disturb(net):
    for variable in net.variables:
        variable.assign(variable.value() + jnp.ones_like(variable.value()))


def assert_equal(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(a, b):
    """Equal within rounding: a compiled program, and the same one eagerly, may round differently."""
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


HOW = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "copy of a copy": lambda net: copy.deepcopy(copy.deepcopy(net)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", MADE)
def test_a_copy_has_equal_variables_of_its_own(what, how):
    if how == "pickle" and "lambda" in what:
        return
    net = MADE[what]()
    run(net)
    twin = HOW[how](net)
    before = values(net)
    assert type(twin) is type(net)
    assert twin.name == net.name
    assert [v.name for v in twin.variables] == [v.name for v in net.variables]
    assert [v.trainable for v in twin.variables] == [v.trainable for v in net.variables]
    assert list(snt.attribute_paths(twin)) == list(snt.attribute_paths(net))
    assert not {v.path for v in twin.variables} & {v.path for v in net.variables}
    assert_equal(values(twin), before)
    disturb(net)
    assert_equal(values(twin), before)
    changed = values(net)
    assert_close(run(HOW[how](twin)), run(twin))
    disturb(twin)
    assert_equal(values(net), changed)
    assert len(twin.variables) == len(before)  # its calls create none


@pytest.mark.parametrize("what", ["Net", "MLP", "core", "Sequential with a lambda"])
def test_a_copy_before_the_first_call_creates_variables_of_its_own(what):
    net = MADE[what]()
    twin = copy.deepcopy(net)
    run(net), run(twin)
    assert [v.name for v in twin.variables] == [v.name for v in net.variables]
    assert not {v.path for v in twin.variables} & {v.path for v in net.variables}
    kernels = [
        (a, b) for a, b in zip(values(net), values(twin), strict=True) if a.ndim == 2 and a.any()
    ]
    assert kernels
    assert all(not np.array_equal(a, b) for a, b in kernels)


def test_it_computes_the_same_and_trains_apart():
    net = Net()
    net(X)
    target = copy.deepcopy(net)
    expected = target(X, is_training=False)
    opt = snt.optimizers.SGD(0.1)

    @snt.function
    def step(x):
        loss, grads = snt.value_and_grad(lambda: jnp.mean(net(x) ** 2), net.trainable_variables)()
        opt.apply(grads, net.trainable_variables)
        return loss

    first, _ = step(X), [step(X) for _ in range(3)]
    assert float(step(X)) < float(first)
    assert_close(target(X, is_training=False), expected)
    for to, of in zip(target.variables, net.variables, strict=True):
        to.assign(of)
    assert_close(target(X, is_training=False), net(X, is_training=False))


def test_what_holds_modules_is_copied_as_one():
    net = snt.Linear(2)
    net(X)
    opt = snt.optimizers.Adam(0.1)
    opt.apply([jnp.ones_like(v.value()) for v in net.trainable_variables], net.trainable_variables)
    held = {"net": net, "same": net, "opt": opt, "w": net.w, "wrapped": snt.Sequential([net])}
    twin = copy.deepcopy(held)
    assert twin["same"] is twin["net"]
    assert twin["w"] is twin["net"].w is not net.w
    assert twin["wrapped"].submodules == (twin["net"],)
    before = net.w.numpy(), opt.step.numpy()
    grads = [jnp.ones_like(v.value()) for v in twin["net"].trainable_variables]
    twin["opt"].apply(grads, twin["net"].trainable_variables)
    assert_equal((net.w.numpy(), opt.step.numpy()), before)
    assert int(twin["opt"].step) == 2
    assert not np.array_equal(twin["w"], net.w)


def test_a_variable_alone():
    inner = snt.Linear(2)
    inner(X)
    lone = snt.Variable(jnp.ones(2), name="lone")
    for variable in (inner.w, lone):
        twin = copy.deepcopy(variable)
        assert twin.name == variable.name
        assert twin.path != variable.path
        value = variable.numpy()
        twin.assign(twin + 1.0)
        np.testing.assert_array_equal(variable, value)
        np.testing.assert_array_equal(twin, value + 1.0)


def test_a_compiled_method_is_that_of_the_copy():
    class Learner:
        def __init__(self):
            self.net = snt.Linear(2)
            self.predict = snt.function(self._predict)

        def _predict(self, x):
            return self.net(x)

    learner = Learner()
    learner.predict(X)
    twin = copy.deepcopy(learner)
    disturb(twin.net)
    assert_close(twin.predict(X), twin.net(X))
    assert not np.allclose(twin.predict(X), learner.predict(X))


def test_in_a_compiled_function():
    net = snt.Linear(2)
    copies = []

    @snt.function
    def f(x):
        y = net(x)  # created here, so that it is traced twice
        if not copies:
            copies.append(copy.deepcopy(net))
        return y, copies[0](x)

    for _ in range(2):
        a, b = f(X)
        assert_close(a, b)
    np.testing.assert_array_equal(net.w, copies[0].w)
    assert net.w.path != copies[0].w.path


def test_in_a_transformed_function():
    def f(x):
        net = Net()
        net(x)
        twin = copy.deepcopy(net)
        assert not {v.path for v in twin.variables} & {v.path for v in net.variables}
        return net(x, is_training=False), twin(x, is_training=False)

    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0), X)
    (a, b), _ = jax.jit(pair.apply)(params, state, None, X)
    assert_close(a, b)
    assert {path.replace("net_1", "net") for path in params if "net_1" in path} == {
        path for path in params if "net_1" not in path
    }
    other = jax.tree.map(lambda p: p, params)
    other["net_1"]["scale"] = 2.0 * params["net_1"]["scale"]  # the copy has params of its own
    (c, d), _ = jax.jit(pair.apply)(other, state, None, X)
    assert_close(c, a)
    assert not np.allclose(d, b)


def test_not_from_another_run():
    made = []

    def f(x):
        made.append(snt.Linear(2))
        return made[-1](x)

    ps.transform_with_state(f).init(jax.random.key(0), X)
    with pytest.raises(MissingStateError):
        copy.deepcopy(made[-1])
    with pytest.raises(MissingStateError):
        copy.deepcopy(made[-1].w)


def test_a_shallow_copy_shares_the_variables():
    net = snt.Linear(2)
    net(X)
    twin = copy.copy(net)
    disturb(net)
    assert_close(twin(X), net(X))


PROGRAM = """
import pickle, sys
import numpy as np, purestate.sonnet as snt, jax.numpy as jnp
snt.Linear(9)(jnp.ones([1, 9]))  # takes the name
net, x, y = pickle.load(open(sys.argv[1], "rb"))
np.testing.assert_allclose(net(x), y, rtol=1e-5, atol=1e-6)
assert [v.name for v in net.variables] == ["mlp/linear_0/b:0", "mlp/linear_0/w:0"], net.variables
"""


@pytest.mark.slow
def test_pickle_into_another_process(tmp_path):
    net = snt.nets.MLP([3], activation=abs)  # pickle refuses jax.nn.relu itself
    y = net(X)
    (tmp_path / "net").write_bytes(pickle.dumps((net, np.asarray(X), np.asarray(y))))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "net")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def places():
    gc.collect()
    snt.Variable(0.0)  # the next use of the frame drops what ended
    gc.collect()
    kept = OUTSIDE.frame.collections.values()
    return {
        (path, name)
        for collection in kept
        for path, bundle in collection.values.items()
        for name in bundle
        if (path, name) != ("~", "Variable")
    }


def made_and_copied():
    net = Net()
    net(X)
    copy.deepcopy(net)
    twin = copy.deepcopy(net)
    twin(X)
    opt = snt.optimizers.Adam(0.1)
    opt.apply([v.value() for v in twin.trainable_variables], twin.trainable_variables)


def made_in_a_call():
    class Flighty(snt.Module):
        def __call__(self, x):
            return snt.Linear(2)(x)

    net = Flighty()
    net(X), net(X)
    snt.function(net)(X)


ENDING = {
    "modules and their copies": made_and_copied,
    "modules made in each call": made_in_a_call,
    "variables of no module": lambda: [snt.Variable(jnp.ones(3), name="v") for _ in range(3)],
    "an error in a step": lambda: fails(snt.function(raises)),
}


def test_modules_that_an_undone_trace_made_stay_apart_from_later_ones():
    class Lazy(snt.Module):
        def __call__(self, x, second=False):
            if not hasattr(self, "a"):
                self.a, self.v = snt.Linear(3), snt.Variable(jnp.ones(3), name="v")
            if second and not hasattr(self, "b"):
                self.b, self.u = snt.Linear(3), snt.Variable(jnp.ones(3), name="v")
            return (self.b if second else self.a)(x) * (self.u if second else self.v)

    other, net, found = snt.Linear(3), Lazy(), []
    other(X)

    @snt.function
    def f(x):
        y = other(x)  # unknown at first, so that the function is traced twice
        if not found:
            found.append(snt.Linear(3))
        return net(y) + found[0](y)

    f(X)
    net(X, second=True)
    found.append(snt.Linear(3))
    found[1](X)
    held = [*net.variables, *found[0].variables, *found[1].variables]
    assert len({v.path for v in held}) == 10
    assert [v.name for v in net.variables][:2] == ["lazy/v:0", "lazy/v:0"]


@pytest.mark.parametrize(
    "around", [snt.function, lambda f: lambda x: snt.value_and_grad(f, [W])(x)]
)
def test_modules_made_in_a_lifted_function_stay_apart_from_later_ones(around):
    made = []

    def f(x):
        made.append(snt.nets.MLP([2]))
        return jnp.sum(made[-1](x))

    around(f)(X)
    later = snt.nets.MLP([2])
    later(X)
    paths = [v.path for v in later.variables]
    assert all(v.path not in paths for net in made for v in net.variables)


W = snt.Variable(1.0, name="w")


def fails(f):
    with pytest.raises(KeyError):
        f(X)


def raises(x):
    snt.Linear(2)(x)
    raise KeyError("on purpose")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("what", ENDING)
def test_their_variables_end_with_them(what):
    before, facts = places(), len(OUTSIDE.frame.ledger.built)
    ENDING[what]()
    assert not places() - before
    assert len(OUTSIDE.frame.ledger.built) <= facts + 1


def test_variables_of_a_copy_outlive_it():
    net = snt.nets.MLP([4, 2])
    net(X)
    twin = copy.deepcopy(net)
    disturb(twin)
    w, value = twin.variables[1], twin.variables[1].numpy()
    gone = weakref.ref(twin)
    del twin
    places()
    assert gone() is None
    np.testing.assert_array_equal(w, value)


def test_a_module_whose_path_an_undone_trace_took_keeps_its_variables():
    class Lazy(snt.Module):
        @snt.once
        def _initialize(self):
            self.inner = snt.Linear(2)

        def __call__(self, x):
            self._initialize()
            return self.inner(x)

    other, net = snt.Linear(3), Lazy()
    other(X)
    f = snt.function(lambda x: net(other(x)))
    f(X)  # traced twice, since it did not know that it reads `other`
    value = net.inner.w.numpy()
    places()
    np.testing.assert_array_equal(net.inner.w, value)
    assert_close(f(X), net(other(X)))
