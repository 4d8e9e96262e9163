"""An optimizer that keeps its own state: Treex's `Optimizer`, over optax.

Inside a transformed function it is a module whose state is one entry; outside it is a pytree that
`jax.jit` takes as it is. Run: python examples/state/optimizer.py
"""

import jax
import jax.numpy as jnp
import optax  # pyright: ignore[reportMissingTypeStubs]

import purestate as ps

PARAMS = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(0.5)}
GRADS = {"w": jnp.array([0.1, -0.2]), "b": jnp.array(1.0)}
OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.1),
}


def outside(name: str) -> None:
    params, optimizer = PARAMS, ps.Optimizer(OPTIMIZERS[name]).init(PARAMS)
    step = jax.jit(lambda grads, params, optimizer: optimizer.update(grads, params))
    for _ in range(3):
        params, optimizer = step(GRADS, params, optimizer)
        print(f"{name:8} outside", params["w"], params["b"])


def inside(name: str) -> None:
    f = ps.transform_with_state(
        lambda grads, params: ps.Optimizer(OPTIMIZERS[name]).update(grads, params)
    )
    _, state = f.init(None, GRADS, PARAMS)  # {"optimizer": {"opt_state": ...}}
    params = PARAMS
    for _ in range(3):
        params, state = jax.jit(f.apply)({}, state, None, GRADS, params)
        print(f"{name:8} inside ", params["w"], params["b"])


def main() -> None:
    for name in OPTIMIZERS:
        outside(name)
        inside(name)
    try:
        ps.Optimizer(optax.sgd(0.1)).update(GRADS, PARAMS)
    except RuntimeError as error:
        print(type(error).__name__, error)


if __name__ == "__main__":
    main()
