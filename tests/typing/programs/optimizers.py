"""Optimizers, averages and gradients of parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
# in pyright: error: Stub file not found for "optax"
# in mypy: error: missing library stubs

import purestate as ps

x = jnp.ones([8, 3])
params: ps.MutableParams = {}

# It is a module inside a transformed function, and a pytree outside: only you know which.
reveal_type(ps.Optimizer(optax.sgd(0.1)))
# in pyright: Any
# in mypy: Optimizer
optimizer: ps.Optimizer = ps.Optimizer(optax.sgd(0.1)).init(params)
reveal_type(optimizer.update(params, params))  # tuple[dict[str, dict[str, Array]], Optimizer]
reveal_type(optimizer.update(params, apply_updates=False))
# in both: tuple[dict[str, dict[str, Array]], Optimizer]
reveal_type(optimizer.update(params, params, value=3))
# in both: tuple[dict[str, dict[str, Array]], Optimizer]
optimizer.updat(params, params)  # error: updat
optimizer.update(params)
# in pyright: error: No overloads
# in mypy: error: No overload


def update(params: ps.MutableParams, optimizer: ps.Optimizer, grads: Any) -> ps.Optimizer:
    params, optimizer = optimizer.update(grads, params)
    return optimizer


descent = ps.optim.GradientDescent(learning_rate=0.5).create(params)
reveal_type(descent)  # GradientDescentOptimizer[dict[str, dict[str, Array]]]
reveal_type(descent.apply_gradient(params).target)  # dict[str, dict[str, Array]]
descent.apply_gradient()  # error: grads
ps.optim.GradientDescent(rate=0.5)
# in pyright: error: rate
# in pyright: error: learning_rate
# in mypy: error: rate


def descend(optimizer: ps.optim.GradientDescentOptimizer) -> jax.Array:
    out: jax.Array = optimizer.target
    return out


reveal_type(ps.trainable_only(optax.sgd(0.1), ps.surgery.glob("*/w")))
# in pyright: GradientTransformationExtraArgs
# in mypy: Any
reveal_type(ps.ema(params))  # Average[dict[str, dict[str, Array]]]
reveal_type(ps.ema(params).update(params, 0.9))  # Average[dict[str, dict[str, Array]]]
reveal_type(ps.ema(params).params)  # dict[str, dict[str, Array]]
ps.ema(params).updat(params)  # error: updat
with ps.freeze("encoder/*"):
    pass


class Sgd:
    def init(self, params: Any) -> tuple[()]:
        return ()

    def update(self, grads: Any, state: tuple[()], params: Any = None) -> tuple[Any, tuple[()]]:
        return jax.tree.map(jnp.negative, grads), state


own: ps.Optimizer = ps.Optimizer(Sgd())
ps.Optimizer(0.1)
# in pyright: error: "Transformation"
# in mypy: error: "Optimizer"
ps.trainable_only(0.1, True)
# in pyright: error: No overloads
# in pyright: error: "Transformation"
# in mypy: error: No overload
