"""`set_up`, `forward` and values that change in `forward`: MLAX's custom module, with its ZNorm.

ZNorm keeps its moving averages as parameters that are not trained. Run: python
examples/state/set_up.py
"""

import jax
import jax.numpy as jnp

import purestate as ps


class ZNorm(ps.SetUpModule):
    """Brings each column to mean 0 and variance 1."""

    moving_mean = ps.param_attr(trainable=False)
    moving_var = ps.param_attr(trainable=False)

    def __init__(self, momentum: float = 0.9, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps

    def set_up(self, x: jax.Array) -> None:
        print("set_up")
        self.moving_mean, self.moving_var = jnp.zeros(x.shape[-1]), jnp.ones(x.shape[-1])

    def forward(self, x: jax.Array, *, inference_mode: bool = False) -> jax.Array:
        print("forward")
        mean, var = self.moving_mean, self.moving_var
        if not inference_mode:
            mean, var = x.mean(0), x.var(0)
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
            self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        return (x - mean) / jnp.sqrt(var + self.eps)


def twice(x: jax.Array, inference_mode: bool) -> jax.Array:
    z_norm = ZNorm()
    z_norm(x, inference_mode=True)
    return z_norm(x, inference_mode=inference_mode)


def main() -> None:
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    f = ps.transform_with_collections(twice)
    variables = f.init(None, x, False)  # set_up runs once, though the module is called twice

    out, updated = f.apply(variables, None, x, False, mutable=["params"])
    for name, bundle in (("before", variables["params"]), ("after", updated["params"])):
        print(name, bundle["z_norm"]["moving_mean"], bundle["z_norm"]["moving_var"])
    print("out", out)

    # As an object, whose parameters change in place.
    model = ps.bind(f, variables).train()
    model(x)
    model.eval()(x)
    print("object", model.params["z_norm"]["moving_mean"], model.params["z_norm"]["moving_var"])


if __name__ == "__main__":
    main()
