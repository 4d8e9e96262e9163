"""Models, optimizers and predicates through pickle, cloudpickle, dill and deepcopy, and into another process."""

import copy
import os
import pickle
import subprocess
import sys

import cloudpickle
import dill
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

X = jnp.array([[1.0, 2.0], [3.0, 4.0]])
S = ps.surgery


class Net(ps.Module):
    calls = ps.state_attr([], jnp.int32, jnp.zeros)

    def __init__(self, size=3):
        super().__init__()
        self.encoder = ps.Linear(size)
        self.layers = [ps.Linear(size)]
        self.turns = 0

    def __call__(self, x, is_training=False):
        self.calls += 1
        self.turns += 1
        return self.encode(x, is_training)

    def encode(self, x, is_training=False):
        x = self.encoder(x)
        return ps.dropout(ps.next_rng_key(), 0.5, x) if is_training else x


def forward(x):
    return Net()(x)


def make():
    return Net(3)


Base = Net


def make_local():
    class Net(Base):
        pass

    return Net()


def is_bias(module, name, value):
    return name == "b"


def all_parts():
    net = Net()
    return net(X), net.layers[0](X)


def variables():
    return ps.transform_with_state(all_parts).init(jax.random.key(0))


def frozen_parts():
    with ps.freeze("*/w"):
        return all_parts()


def of(source, rng=None, **kwargs):
    return ps.bind(source, *variables(), rng, **kwargs)


PAIR = ps.transform_with_state(forward)
IN_COLLECTIONS = ps.transform_with_collections(forward)


def in_collections():
    params, state = variables()
    return ps.bind(IN_COLLECTIONS, {"params": params, "state": state})


# What plain pickle takes, since all that it is made of is found by name.
NAMED = {
    "a class": lambda: of(Net),
    "a function of arrays": lambda: of(forward),
    "a function that makes a module": lambda: of(make),
    "a function that makes a module of a local class": lambda: of(make_local),
    "a typed key": lambda: of(Net, jax.random.key(3)),
    "a raw key": lambda: of(Net, jax.random.PRNGKey(3)),
    "an int for a key": lambda: of(Net, 3),
    "keys by stream": lambda: of(Net, {"params": 0, "default": 1}),
    "in training": lambda: of(Net, 0).train(),
    "in evaluation": lambda: of(Net).eval(),
    "frozen by a glob": lambda: of(Net).freeze("*/w"),
    "frozen by a predicate": lambda: of(Net).freeze(S.glob("*/w") & ~S.has_ndim(1)),
    "frozen by a function": lambda: of(Net).freeze(is_bias),
    "frozen by specs": lambda: of(Net, specs=ps.specs(frozen_parts)(0)),
    "a changed attribute": lambda: called(of(Net)),
    "a part": lambda: of(Net).parameters(),
    "a trainable part": lambda: of(Net).freeze("*/w").trainable_parameters(),
}
UNNAMED = {
    "a lambda": lambda: of(lambda x: Net()(x)),
    "a lambda that makes a module": lambda: of(lambda: Net(3)),
    "frozen by a lambda": lambda: of(Net).freeze(lambda module, name, value: name == "b"),
    "a pair of a lambda": lambda: of(ps.transform_with_state(lambda x: Net()(x))),
    "a pair without a key": lambda: of(ps.without_apply_rng(ps.transform_with_state(forward))),
}
PAIRS = {"a pair": lambda: of(PAIR), "a pair of collections": in_collections}
MODELS = {**NAMED, **UNNAMED, **PAIRS}


def pairs_can_be_pickled():
    try:
        pickle.dumps((PAIR, IN_COLLECTIONS))
    except Exception:
        return False
    return True


WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "cloudpickle": lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
    "dill": lambda x: dill.loads(dill.dumps(x)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def called(model):
    model(X)
    return model


def same(a, b):
    leaves = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves[0]) == len(leaves[1]) and all(
        x.dtype == y.dtype and (x == y).all() for x, y in zip(*leaves, strict=True)
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_models(name, way):
    if way.startswith("pickle") and (
        name in UNNAMED or (name in PAIRS and not pairs_can_be_pickled())
    ):
        pytest.skip("plain pickle takes functions by their names only")
    model = MODELS[name]()
    other = WAYS[way](model)
    assert type(other) is ps.Model
    assert same(other, model)
    assert repr(other) == repr(model)
    assert other.training == model.training
    if way in ("copy", "deepcopy") or not (
        name in UNNAMED or (name in PAIRS and not pairs_can_be_pickled())
    ):
        # The same structure, so that nothing is compiled again.
        assert jax.tree.structure(other) == jax.tree.structure(model)
    frozen = model.trainable_parameters(), other.trainable_parameters()
    assert same(*frozen)
    if name.endswith("part"):
        with pytest.raises(ps.errors.ViewError, match="holes"):
            other(X)
        return
    for _ in range(2):  # both go on alike: state, key and attributes
        assert same(other(X), model(X))
        assert same(other, model)
    if (
        name not in PAIRS
        and "pair" not in name
        and name not in ("a lambda", "a function of arrays")
    ):
        assert other.turns == model.turns > 0
        assert same(other.encode(X), model.encode(X))
    other.params["net/~/linear"] = None  # and have nothing in common
    assert model.params["net/~/linear"] is not None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("member", ["encode", "encoder", "layers"])
def test_members(member, way):
    model = of(Net)
    other = WAYS[way](getattr(model, member))
    expected = model.layers[0] if member == "layers" else getattr(model, member)
    part = other[0] if member == "layers" else other
    np.testing.assert_array_equal(part(X), expected(X))


PROGRAM = """
import pickle, sys
import jax.numpy as jnp
runs = []
from tests.views import test_pickling
test_pickling.Net.__init__, plain = (
    lambda self, *args: (runs.append(1), plain(self, *args))[1], test_pickling.Net.__init__)
model = pickle.loads(sys.stdin.buffer.read())
assert not runs, "a model that is loaded runs nothing"
print(type(model).__name__, model.params["net/~/linear"]["b"].shape, len(runs))
print(float(model(test_pickling.X).sum()), len(runs))
print(float(model.encode(test_pickling.X).sum()), len(runs))
print(repr(model), model.eval().training, len(runs))
"""


@pytest.mark.parametrize("name", ["a class", "a function that makes a module"])
def test_in_another_process(name):
    """As process pools and Ray do it; the function of the model runs once for each call."""
    model = NAMED[name]()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=pickle.dumps(model), capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    out = float(model(X).sum())
    assert done.stdout.decode().splitlines() == [
        "Model (3,) 0", f"{out} 1", f"{float(model.encode(X).sum())} 2", f"{model!r} False 2",
    ]  # fmt: skip


# Optimizers


def init_sgd(params):
    return {"count": jnp.zeros([], jnp.int32)}


def update_sgd(grads, state, params=None):
    return jax.tree.map(lambda g: -0.1 * g, grads), {"count": state["count"] + 1}


NAMED_SGD = optax.GradientTransformation(init_sgd, update_sgd)
MASK = {module: {name: name == "w" for name in bundle} for module, bundle in variables()[0].items()}
OPTIMIZERS = {
    "named functions": lambda: NAMED_SGD,
    "trainable_only, a predicate": lambda: ps.trainable_only(NAMED_SGD, S.glob("*/w")),
    "trainable_only, a mask": lambda: ps.trainable_only(NAMED_SGD, MASK),
    "optax": lambda: optax.adam(0.1),
    "trainable_only of optax": lambda: ps.trainable_only(optax.adamw(0.1), S.glob("*/w")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, way):
    if way.startswith("pickle") and "optax" in name:
        pytest.skip("optax's optimizers are local functions")
    params = variables()[0]
    for opt in (ps.Optimizer(OPTIMIZERS[name]()), ps.Optimizer(OPTIMIZERS[name]()).init(params)):
        if opt.opt_state is not None:
            params, opt = opt.update(params, params)
        other = WAYS[way](opt)
        assert repr(other).partition("(")[0] == "Optimizer"
        if opt.opt_state is None:
            other, opt = other.init(params), opt.init(params)
        assert same(other, opt)
        assert same(other.update(params, params), opt.update(params, params))


def test_a_training_checkpoint_goes_on_without_compiling_again():
    traces = []

    @jax.jit
    def step(model, opt):
        traces.append(1)
        grads = jax.grad(lambda p: (model.update(p)(X) ** 2).sum())(model.parameters())
        params, opt = opt.update(grads, model.parameters())
        return model.update(params), opt

    model = of(Net, 0)
    opt = ps.Optimizer(ps.trainable_only(NAMED_SGD, S.glob("*/w"))).init(model.parameters())
    model, opt = step(model, opt)
    loaded = pickle.loads(pickle.dumps((model, opt.opt_state)))
    opt = ps.Optimizer(opt.tx).init(model.parameters())
    assert same(step(*(loaded[0], opt)), step(model, opt))
    assert len(traces) == 1


# Predicates and other tools


PREDICATES = [
    S.glob("*/w"),
    S.regex(r".*/w"),
    S.has_dtype(jnp.floating),
    S.has_dtype(jnp.bfloat16),
    S.has_dtype("int8"),
    S.has_ndim(0, 1),
    S.larger_than(7),
    ~S.glob("*/w"),
    (S.glob("a/*") | S.has_ndim(2)) & ~S.larger_than(3),
    S.of_module(ps.Linear, ps.specs(ps.transform(lambda: ps.Linear(3)(X)))(0)),
    S.Predicate(is_bias),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("predicate", PREDICATES, ids=range(len(PREDICATES)))
def test_predicates(predicate, way):
    other = WAYS[way](predicate)
    assert other == predicate
    assert hash(other) == hash(predicate)
    assert repr(other) == repr(predicate)
    assert other.needs_path == predicate.needs_path
    if predicate is not PREDICATES[-1]:  # which takes three arguments
        assert other(variables()[0]) == predicate(variables()[0])


def test_predicates_that_differ():
    assert len(set(PREDICATES)) == len(PREDICATES)
    assert S.glob("a") != S.glob("b")
    assert S.glob("a") & S.glob("b") != S.glob("a") | S.glob("b")
    assert S.glob("a") != "a"


@pytest.mark.parametrize("way", WAYS)
def test_averages_and_specs(way):
    average = ps.ema(variables()[0]).update(variables()[0])
    assert same(WAYS[way](average), average)
    assert jax.tree.structure(WAYS[way](average)) == jax.tree.structure(average)
    specs = ps.specs(ps.transform(lambda: ps.Linear(3)(X)))(0)
    assert WAYS[way](specs) == specs
