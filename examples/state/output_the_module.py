"""Always output the module: Treex's loss function of a model that has state.

The model is an argument and comes out with the loss, so that what the call changed in it is kept.
Run: python examples/state/output_the_module.py
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps


class Model(ps.Module):
    """A linear layer that counts its calls."""

    n = ps.state_attr([], jnp.int32, jnp.zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        self.n += 1
        return ps.Linear(1, w_init=lambda *_: jnp.array([[1.0], [2.0]]))(x)


@partial(jax.value_and_grad, has_aux=True)
def loss_fn(params: ps.Model, model: ps.Model, x: jax.Array, y: jax.Array) -> Any:
    model = model.update(params)

    preds = model(x)
    loss = jnp.mean((preds - y) ** 2)

    return loss, model


def main() -> None:
    x, y = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.0], [2.0]])
    f = ps.transform_with_state(lambda x: Model()(x))
    old = model = ps.bind(Model, *f.init(jax.random.key(0), x))

    params = model.parameters()
    (loss, model), grads = jax.jit(loss_fn)(params, model, x, y)
    grads = grads.params["model/linear"]
    print("loss", loss, "grads", grads["w"].ravel(), grads["b"], "calls", old.n, model.n)

    # The same with pure functions.
    def loss_of(params: Any, state: Any) -> Any:
        preds, state = f.apply(params, state, None, x)
        return jnp.mean((preds - y) ** 2), state

    (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(old.params, old.state)
    grads = grads["model/linear"]
    print(
        "loss", loss, "grads", grads["w"].ravel(), grads["b"], "calls", old.n, state["model"]["n"]
    )


if __name__ == "__main__":
    main()
