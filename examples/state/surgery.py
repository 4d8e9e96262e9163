"""Taking a model apart and putting it together: MLAX's `filter`, `partition` and `combine`.

What is left out is a hole, None, which JAX passes over. Run: python examples/state/surgery.py
"""

from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps


class Series(ps.Module):
    """A layer, with a norm whose averages are parameters that are not trained."""

    def __call__(self, x: jax.Array) -> jax.Array:
        x = ps.Linear(3)(x)
        mean = ps.variable("params", "moving_mean", [3], init=jnp.zeros, trainable=False)
        mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
        return jax.nn.relu(x - x.mean(0)) + 1.0


def shapes(tree: Any) -> Any:
    return jax.tree.map(jnp.shape, tree)


def main() -> None:
    x = jnp.ones([3, 4])
    f = ps.transform_with_collections(lambda x: Series()(x))
    params, specs = f.init(jax.random.key(0), x)["params"], ps.specs(f)(jax.random.key(0), x)

    print("filter", shapes(ps.surgery.filter(params, lambda leaf: leaf.ndim == 2)))
    print(
        "filter_with_path",
        shapes(ps.surgery.filter_with_path(params, lambda path, leaf: path.endswith("/b"))),
    )
    some, rest = ps.surgery.partition_with_path(
        params, ps.surgery.glob("*/linear/*") & ~ps.surgery.glob("*/b")
    )
    print("partition", shapes(some), shapes(rest))
    whole = ps.surgery.combine(some, rest)
    print("combine", jax.tree.map(jnp.array_equal, whole, params))

    # Gradients by one half; the other changes, and comes out beside them.
    def loss(trainable: Any, frozen: Any) -> Any:
        out, updated = f.apply(
            {"params": ps.surgery.combine(trainable, frozen)}, None, x, mutable=["params"]
        )
        return (out**2).mean(), updated["params"]

    trainable, frozen = ps.partition_trainable(params, specs)
    grads, new_params = jax.grad(loss, has_aux=True)(trainable, frozen)
    print("grads", shapes(grads))
    linear = params["series/linear"]
    is_right = jnp.allclose(
        new_params["series"]["moving_mean"], 0.1 * (x @ linear["w"] + linear["b"]).mean(0)
    )
    print("moving mean was", params["series"]["moving_mean"], "and is right now:", is_right)

    # The same of an object.
    model = ps.bind(f, {"params": params}, specs=specs)
    some, rest = model.partition(lambda leaf: leaf.ndim == 2)
    print("object", shapes(some.params), jnp.array_equal(rest.update(some)(x), model.copy()(x)))
    print("trainable", shapes(model.trainable_parameters().params))


if __name__ == "__main__":
    main()
