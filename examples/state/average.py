"""A module that updates its state in place: Treex's running average.

`self.count += ...` reads and writes state of the module, under its own name. Run: python
examples/state/average.py
"""

import jax
import jax.numpy as jnp

import purestate as ps


class Average(ps.Module):
    """The average of all that it has been called with."""

    count = ps.state_attr([], jnp.int32, jnp.zeros)
    total = ps.state_attr([], jnp.float32, jnp.zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        self.count += x.size
        self.total += jnp.sum(x)
        return self.total / self.count


INPUTS = [jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([10.0, 20.0]), jnp.array(5.0)]


def main() -> None:
    # As pure functions: state goes in, and new state comes out.
    f = ps.transform_with_state(lambda x: Average()(x))
    params, first = f.init(None, INPUTS[0])
    apply = jax.jit(f.apply)
    state = first
    for x in INPUTS:
        out, state = apply(params, state, None, x)
        print("pure   ", out, state["average"]["count"], state["average"]["total"])
    print("again  ", apply(params, first, None, INPUTS[0])[0])  # the first state is as it was

    # As an object that holds its state.
    model = ps.bind(Average, params, first)
    for x in INPUTS:
        print("object ", model(x), model.count, model.total)

    # Into a jitted function goes a copy. What it does not return is lost.
    forgetful = ps.bind(Average, params, first)
    jax.jit(lambda model, x: model(x))(forgetful, INPUTS[0])
    print("forgot ", forgetful.count)


if __name__ == "__main__":
    main()
