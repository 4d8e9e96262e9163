"""Messages of Sonnet's modules and variables, outside and inside, and of its optimizers."""

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt
from tests.messages.cases_sonnet_layers import inside
from tests.messages.helpers import X, init, zeros

VECTOR = zeros(3)

# --- modules ---


class Early(snt.Module):
    def __init__(self):
        self.build()
        super().__init__()

    def build(self) -> None:
        pass


class Returns:
    @snt.once
    def build(self) -> int:
        return 1


def outside(name: str, f: Callable[[Any], Any]) -> Callable[[], Any]:
    """Makes a module outside, with a name of its own, and uses it."""
    return lambda: f(snt.Linear(2, name=name))


def called(net: Any) -> Any:
    net(X)
    return net


def inside_of(f: Callable[[], Any]) -> Any:
    """Returns what a transformed function made, after its run."""
    made: list[Any] = []
    init(lambda: made.append(f()))
    return made[0]


MODULES: dict[str, Callable[[], Any]] = {
    "a method before super().__init__": inside(Early),
    "a module from outside": outside("encoder", lambda net: init(net, X)),
    "a module of another run": lambda: inside_of(lambda: snt.Linear(2))(X),
    "variables before a call": inside(lambda: snt.Linear(2).variables),
    "trainable_variables before a call": inside(lambda: snt.Linear(2).trainable_variables),
    "once, a value": lambda: Returns().build(),
    "build without a size": inside(lambda: snt.build(snt.Linear(2), [None, 3])),
    "distribute.Replicator": lambda: snt.distribute.Replicator(),
}

# --- variables ---


def made(value: Any = VECTOR, **options: Any) -> Any:
    return snt.Variable(value, name="scale", **options)


def mapped() -> Any:
    return jax.tree.map(lambda v: v, [made()], is_leaf=lambda x: x is None)[0]


def without_package(name: str, f: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> None:
        with mock.patch.dict(sys.modules, {name: None}):
            f()

    return run


VARIABLES: dict[str, Callable[[], Any]] = {
    "a variable without a value": inside(lambda: snt.Variable(name="scale")),
    "a variable of another shape": inside(lambda: made(shape=[4])),
    "assign another shape": inside(lambda: made().assign(X)),
    "assign floats to integers": inside(lambda: made(0).assign(0.5)),
    "assign to a value that JAX passed on": inside(lambda: mapped().assign(VECTOR)),
    "a variable from outside": outside("decoder", lambda net: init(called(net).w.value)),
    "a variable of a run that has ended": lambda: inside_of(made).value(),
    "a variable of another run": lambda: init(inside_of(made).value),
    "a variable in jax.jit": outside(
        "policy", lambda net: jax.jit(lambda x: x @ called(net).w.value())(X)
    ),
    "snt.function in jax.jit": lambda: jax.jit(snt.function(lambda x: x))(X),
    "format_variables, tabulate is not installed": without_package(
        "tabulate", lambda: snt.format_variables([], tablefmt="html")
    ),
}

# --- functions of modules from outside ---


def without_params(net: Any) -> Any:
    return snt.functional.transform(called(net)).apply({}, X)


FUNCTIONS: dict[str, Callable[[], Any]] = {
    "functional.transform, no params": outside("critic", without_params),
    "functional.transform with state": lambda: snt.functional.transform(
        snt.ExponentialMovingAverage(0.9, name="running_mean")
    ).init(VECTOR),
    "function, static_argnums": lambda: snt.function(len, static_argnums=0),
    "value_and_grad by arrays": lambda: snt.value_and_grad(jnp.sum, [X]),  # type: ignore
}

# --- optimizers ---


class Grows(snt.Optimizer):
    def apply(self, updates: Any, parameters: Any) -> None:
        for parameter in parameters:
            parameter.assign(X)


def applied(updates: Any, *values: Any, make: Any = lambda: snt.optimizers.SGD(0.1)) -> Any:
    def run() -> None:
        f = ps.transform_with_state(
            lambda: make().apply(updates, [made(value, trainable=False) for value in values])
        )
        f.apply({}, f.init(None)[1], None)

    return run


def functional(make: Any, updates: Any, *args: Any) -> Any:
    optimizer = snt.functional.optimizer(make)(*args)
    params = {"linear": {"b": VECTOR}}
    return optimizer.apply(optimizer.init(params), updates, params)


def fewer_parameters() -> None:
    optimizer, w, b = snt.optimizers.Adam(0.1), made(trainable=False), made(trainable=False)
    optimizer.apply([VECTOR, VECTOR], [w, b])
    optimizer.apply([VECTOR], [w])


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "too few updates": applied([VECTOR], VECTOR, VECTOR),
    "no parameters": applied([]),
    "updates of None": applied([None], VECTOR),
    "an update of another dtype": applied([np.zeros(3, np.float16)], VECTOR),
    "an update of another shape": applied([X], VECTOR),
    "fewer parameters than before": inside(fewer_parameters),
    "optax is not installed": without_package("optax", lambda: snt.optimizers.Adam(0.1).init({})),
    "a functional optimizer, too few updates": lambda: functional(snt.optimizers.SGD, {}, 0.1),
    "a functional optimizer, another shape": lambda: functional(Grows, {"linear": {"b": VECTOR}}),
}

CASES = {**MODULES, **VARIABLES, **FUNCTIONS, **OPTIMIZERS}
