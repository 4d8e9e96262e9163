"""Messages of networks, policies, views, inspection and flax."""

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import flax.linen
import jax
import jax.numpy as jnp
import optax

import purestate as ps
from tests.messages.helpers import X, init, zeros

nets, precision, flax_facade = ps.nets, ps.mixed_precision, ps.experimental.flax

# --- networks ---

NETS: dict[str, Callable[[], Any]] = {
    "MLP, b_init without a bias": lambda: init(
        lambda: nets.MLP([4], b_init=jnp.zeros, with_bias=False)
    ),
    "MLP, dropout_rate without rng": lambda: init(lambda: nets.MLP([4])(X, 0.5)),
    "MLP, rng without dropout_rate": lambda: init(lambda: nets.MLP([4])(X, rng=ps.next_rng_key())),
    "MLP, reversed before it is called": lambda: init(lambda: nets.MLP([4]).reverse()),
    "MobileNetV1, bn_config without BatchNorm": lambda: init(
        lambda: nets.MobileNetV1(use_bn=False, bn_config={"eps": 1e-3})
    ),
    "MobileNetV1, strides and channels": lambda: init(lambda: nets.MobileNetV1(strides=(1, 2))),
    "ResNet, four groups": lambda: init(lambda: nets.ResNet([2, 2], 10)),
    "VectorQuantizer, embedding_dim": lambda: init(
        lambda: nets.VectorQuantizer(4, 8, 0.25)(X, True)
    ),
    "VectorQuantizer of None": lambda: init(lambda: nets.VectorQuantizer(4, 8, 0.25)(None, True)),
    "VectorQuantizerEMA, decay": lambda: init(lambda: nets.VectorQuantizerEMA(4, 8, 0.25, 1.5)),
}

# --- policies ---


def half() -> Any:
    return precision.get_named_policy("half")


class PushesInside(ps.Module):
    def __call__(self) -> None:
        with precision.push_policy(PushesInside, half()):
            pass


def policy_of_module() -> None:
    precision.set_policy(ps.Module, half())
    precision.clear_policy(ps.Module)


PRECISION: dict[str, Callable[[], Any]] = {
    "policy, no such part": lambda: precision.get_named_policy("weights=float32"),
    "policy, no such dtype": lambda: precision.get_named_policy("params=float64x"),
    "policy of integers": lambda: precision.Policy(jnp.int32, jnp.float32, jnp.float32),
    "policy pushed inside": lambda: init(lambda: PushesInside()()),
    "policy of a module": lambda: init(lambda: precision.set_policy(ps.Linear(2), half())),
    "policy None": lambda: precision.set_policy(ps.Linear, None),
    "policy that is none": lambda: precision.set_policy(ps.Linear, "half"),
    "policy of ps.Module": policy_of_module,
    "dynamic_loss_scale of a number": lambda: precision.dynamic_loss_scale(1e-3),  # pyright: ignore
    "dynamic_loss_scale, initial": lambda: precision.dynamic_loss_scale(optax.sgd(0.1), 0.5),
    "loss_scale of another state": lambda: precision.loss_scale(optax.adam(0.1).init({"w": X})),
    "loss_scale of two": lambda: precision.loss_scale(
        [precision.dynamic_loss_scale(optax.sgd(0.1)).init({"w": X})] * 2
    ),
}

# --- views ---

LINEAR = ps.transform_with_state(lambda x: ps.Linear(2)(x))
PARAMS = {"linear": {"w": zeros(3, 2), "b": zeros(2)}}
OTHER = {"linear": {"w": zeros(3, 2)}}
LAST = ps.transform_with_state(lambda x: ps.set_state("last", x))


class Net(ps.Module):
    def __init__(self, size: int, rates: Any = ()):
        super().__init__()
        self.size = size
        self.rates = rates

    def __call__(self, x: Any) -> Any:
        return ps.Linear(self.size)(x)


class WithArray(ps.Module):
    def __init__(self):
        super().__init__()
        self.scale = X

    def __call__(self, x: Any) -> Any:
        return x * self.scale


def model() -> Any:
    return ps.bind(LINEAR, PARAMS)


def called_in_jit() -> Any:
    last = ps.bind(LAST, {}, {"~": {"last": X}})
    return jax.jit(lambda x: last(x))(X)


def train_state(tx: Any = None, rng: Any = 0) -> Any:
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, True))
    return ps.TrainState.create(f, optax.sgd(0.1) if tx is None else tx, rng, X)


def optimizer(params: Any = PARAMS) -> Any:
    return ps.Optimizer(optax.sgd(0.1)).init(params)


def adam(params: Any) -> Any:
    return ps.Optimizer(optax.adam(0.1)).init(params)


BROADCAST = {"linear": {"w": zeros(2), "b": zeros(2)}}
LARGER = {"linear": {"w": zeros(5, 5), "b": zeros(2)}}
INTEGERS = jax.tree.map(lambda leaf: leaf.astype(int), PARAMS)
HALF = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)


def as_module(*args: Any) -> Any:
    return init(lambda: ps.Optimizer(optax.sgd(0.1)).update(*args))


VIEWS: dict[str, Callable[[], Any]] = {
    "submodules of a function": lambda: ps.submodules(lambda x: x),
    "submodules of a model of a function": lambda: ps.submodules(ps.bind(LINEAR, PARAMS)),
    "bind of a number": lambda: ps.bind(3, {}),
    "bind, params no dict": lambda: ps.bind(LINEAR, X),
    "bind, state one level short": lambda: ps.bind(LINEAR, {"w": X}),
    "bind of a class with arguments": lambda: ps.bind(Net, PARAMS),
    "bind, an array as an attribute": lambda: ps.bind(WithArray, {})(X),
    "bind, a hyperparameter without a hash": lambda: ps.bind(
        lambda: Net(2, [0.1]), {}, strict=True
    ),
    "model without a part": lambda: model().filter("state")(X),
    "model without a key": lambda: ps.bind(lambda x: ps.dropout(ps.next_rng_key(), 0.5, x), {})(X),
    "model inside jax.jit": called_in_jit,
    "model.update with a number": lambda: model().update(3),
    "model.update with another structure": lambda: model().update(OTHER),
    "model.update with another shape": lambda: model().update(BROADCAST),
    "bind, specs of another function": lambda: ps.bind(
        LINEAR, PARAMS, specs=ps.specs(lambda x: Net(3)(x))(0, X)
    ),
    "model.filter by a name": lambda: model().filter("weights"),
    "model.train": lambda: model().train(),
    "model, no attributes": lambda: model().encoder,
    "model, no such attribute": lambda: ps.bind(
        lambda: Net(2), {"net/linear": PARAMS["linear"]}
    ).encoder(X),
    "Optimizer of a number": lambda: ps.Optimizer(3),
    "TrainState of a plain function": lambda: ps.TrainState.create(len, optax.sgd(0.1), 0),
    "TrainState, an array in place of a key": lambda: train_state(rng=X),
    "TrainState, a number in place of an optimizer": lambda: train_state(tx=3),
    "TrainState, the new state was forgotten": lambda: train_state().update(
        optax.sgd(0.1), train_state().params
    ),
    "Optimizer without a state": lambda: ps.Optimizer(optax.sgd(0.1)).update(PARAMS, PARAMS),
    "Optimizer without params": lambda: optimizer().update(PARAMS),
    "Optimizer, other gradients": lambda: optimizer().update(OTHER, PARAMS),
    "Optimizer, structures differ": lambda: optimizer().update(
        PARAMS, {"linear": {"v": X, "b": X}}
    ),
    "Optimizer, gradients that broadcast": lambda: optimizer().update(BROADCAST, PARAMS),
    "Optimizer, gradients of integers": lambda: optimizer().update(INTEGERS, PARAMS),
    "Optimizer, params of integers": lambda: optimizer(INTEGERS).update(INTEGERS, INTEGERS),
    "Optimizer, state that broadcasts": lambda: adam(BROADCAST).update(PARAMS, PARAMS),
    "Optimizer, state of other shapes": lambda: adam(LARGER).update(PARAMS, PARAMS),
    "Optimizer, gradients of another precision": lambda: adam(HALF).update(PARAMS, HALF),
    "GradientDescent, gradients that broadcast": lambda: (
        ps.optim.GradientDescent(0.1).create(PARAMS).apply_gradient(BROADCAST)
    ),
    "optimizer as a module, no state": lambda: as_module(PARAMS, None, False),
}

# --- inspection, flax ---


def without_package(name: str, f: Callable[[], Any]) -> Callable[[], Any]:
    """Runs `f` as if a package were not installed, and what needs it were not imported yet."""

    def do() -> Any:
        ours = {module: None for module in sys.modules if module.partition(".")[0] == name}
        with mock.patch.dict(sys.modules, {name: None, **ours}):
            for module in ("purestate._flax.flax_lift", "purestate._flax.flax_module"):
                if name == "flax":
                    sys.modules.pop(module, None)
            return f()

    return do


def table(**options: Any) -> Any:
    return ps.experimental.tabulate(LINEAR, **options)(X)


REST: dict[str, Callable[[], Any]] = {
    "tabulate, no such column": lambda: table(columns=("modul",)),
    "tabulate, no such filter": lambda: table(filters=("has_weights",)),
    "tabulate is not installed": without_package("tabulate", table),
    "operation_costs of params": lambda: ps.operation_costs({"linear": {}}),  # pyright: ignore
    "flax, rngs no dict": lambda: init(
        lambda: flax_facade.lift(flax.linen.Dense(2), name="dense")(X, rngs=ps.next_rng_key())
    ),
    "flax.Module of a function": lambda: flax_facade.Module(table).init(jax.random.key(0)),
    "flax.Module of a class": lambda: flax_facade.Module(ps.Linear).init(jax.random.key(0)),
    "flax.Module of a number": lambda: flax_facade.Module(3).init(jax.random.key(0)),
    "flax, no such name": lambda: flax_facade.no_such_name,
    "flax is not installed": without_package("flax", lambda: flax_facade.lift),
}

CASES: dict[str, Callable[[], Any]] = {**NETS, **PRECISION, **VIEWS, **REST}
