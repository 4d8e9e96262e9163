"""Masks and parts by specs, of what every transform gives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

RNG, X = jax.random.key(0), jnp.ones([2, 3])


def forward(x):
    table = ps.get_parameter("table", [3], init=jnp.ones, trainable=False)
    ps.set_state("seen", x.sum())
    return ps.Linear(2, name="params")(x + table)  # a module may be called like a collection


MASK = {"params": {"b": True, "w": True}, "~": {"table": False}}


def inner(x):
    table = ps.get_parameter("table", [3], init=jnp.ones, trainable=False)
    return ps.Linear(2, name="params")(x + table)


F = {
    "params": ps.transform(inner),
    "params and state": ps.transform_with_state(forward),
    "collections": ps.transform_with_collections(forward),
}


def params_of(made):
    if isinstance(made, tuple):
        return made[0]
    return made["params"] if "state" in made else made


@pytest.mark.parametrize("kind", F)
def test_mask_and_parts_of_params(kind):
    f = F[kind]
    specs, params = ps.specs(f)(RNG, X), params_of(f.init(RNG, X))
    assert ps.trainable_mask(specs) == MASK
    trainable, frozen = ps.partition_trainable(params, specs)
    assert trainable["~"] == {"table": None}
    assert trainable["params"] == params["params"]
    assert frozen == {"params": {"b": None, "w": None}, "~": params["~"]}
    jax.tree.map(np.testing.assert_array_equal, ps.surgery.combine(trainable, frozen), params)


@pytest.mark.parametrize("kind", ["params and state", "collections"])
def test_parts_of_all_that_init_returned(kind):
    f = F[kind]
    made, specs = f.init(RNG, X), ps.specs(f)(RNG, X)
    trainable, frozen = ps.partition_trainable(made, specs)
    assert len(jax.tree.leaves(trainable)) == 2
    assert len(jax.tree.leaves(frozen)) == 2  # the table, and the state
    jax.tree.map(np.testing.assert_array_equal, ps.surgery.combine(trainable, frozen), made)


def test_mask_is_one_of_optax():
    f = F["params"]
    params, mask = f.init(RNG, X), ps.trainable_mask(ps.specs(f)(RNG, X))
    state = optax.masked(optax.trace(0.9), mask).init(params)
    assert len(jax.tree.leaves(state)) == 2


def test_parts_that_do_not_fit():
    specs = ps.specs(F["params"])(RNG, X)
    with pytest.raises(
        ps.errors.BundleError,
        match="only params has 'new/w'; only specs has 'params/b', 'params/w'",
    ):
        ps.partition_trainable({"~": {"table": 1}, "new": {"w": 2}}, specs)
    with pytest.raises(
        ps.errors.BundleError,
        match=r"the result of `ps.specs\(f\)\(rng, \*args\)`.* has a float",
    ):
        ps.trainable_mask({"a": {"w": 1.0}})


def test_without_parameters():
    assert ps.trainable_mask({}) == {}
    assert ps.trainable_mask(({}, {})) == {}
    assert ps.partition_trainable({}, {}) == ({}, {})


def test_gradients_of_the_trainable_part_alone():
    f = F["params"]
    params, specs = f.init(RNG, X), ps.specs(f)(RNG, X)
    trainable, frozen = ps.partition_trainable(params, specs)

    def loss(params):
        return (f.apply(params, None, X) ** 2).sum()

    part = jax.jit(jax.grad(lambda trainable, frozen: loss(ps.surgery.combine(trainable, frozen))))(
        trainable, frozen
    )
    assert part["~"] == {"table": None}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        part["params"],
        jax.grad(loss)(params)["params"],
    )


def test_pytree_parameters():
    def f(x):
        return (
            x
            * ps.variable(
                "params", "scale", init=lambda: {"a": jnp.ones([3]), "b": jnp.ones([])}
            ).value["a"]
        )

    g = ps.transform_with_collections(f)
    specs = ps.specs(g)(None, X)
    assert ps.trainable_mask(specs) == {"~": {"scale": {"a": True, "b": True}}}
    trainable, frozen = ps.partition_trainable(g.init(None, X)["params"], specs)
    assert len(jax.tree.leaves(trainable)) == 2
    assert jax.tree.leaves(frozen) == []
