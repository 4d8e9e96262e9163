"""`map_variables`: what a function sees is mapped, what is stored is raw, in init, apply and updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.lifted.derivatives import KEY, MODES, STYLES, X, identical, pair, same
from tests.lifted.derivatives import WAYS as COMMON_WAYS


def transposed(value, context):
    return value.T if context.name == "w" else value


def net(x):
    return jnp.tanh(ps.Linear(5)(x)) @ ps.get_parameter("w", [5, 3], init=jnp.ones)


WAYS = COMMON_WAYS | {
    "ensemble": lambda g, x: ps.vmap(g, split_rng=ps.running_init(), collections={"params": 0})(x),
    "layers_by_name": lambda g, x: ps.layer_stack(2, layers="block_{}")(lambda x: x + block(g)(x))(
        x
    ),
    "vjp": lambda g, x: ps.vjp(g, x)[0],
}


def block(g):
    class Block(ps.Module):
        def __call__(self, x):
            return g(x)

    return Block(name="block")


def swapped(params):
    return {
        module: {
            name: jnp.swapaxes(value, -1, -2) if name == "w" else value
            for name, value in bundle.items()
        }
        for module, bundle in params.items()
    }


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("way", WAYS)
def test_transposed_kernels(way, style, mode, inside):
    """The initial bits, transposed; the outputs and gradients of the plain function."""

    def f(x):
        if inside:  # the map is in the transform, or around it
            return WAYS[way](ps.map_variables(net, transposed, transposed), x)
        return ps.map_variables(lambda x: WAYS[way](net, x), transposed, transposed)(x)

    (init, apply), (plain_init, plain) = (
        pair(g, style, mode) for g in (f, lambda x: WAYS[way](net, x))
    )
    variables, expected = init(KEY, X), plain_init(KEY, X)
    if way == "jit":  # compiled as one, the initializer may round in another way
        same(swapped(variables["params"]), expected["params"], rtol=1e-5)
    else:
        identical(swapped(variables["params"]), expected["params"])
    same(apply(variables, KEY, X), (plain(expected, KEY, X)[0], variables), rtol=1e-5)
    same(jax.jit(apply)(variables, KEY, X)[0], plain(expected, KEY, X)[0], rtol=1e-5)

    def grads(apply, variables):
        total = lambda p: (apply({**variables, "params": p}, KEY, X)[0] ** 2).sum()
        return jax.grad(total)(variables["params"])

    same(swapped(grads(apply, variables)), grads(plain, expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("maker", ["get_state", "variable"])
@pytest.mark.parametrize("collection", ["state", "cache"])
@pytest.mark.parametrize("style", STYLES)
def test_state_that_is_set(style, collection, maker):
    """Stored is the logarithm, while the function counts in plain numbers."""

    def count():
        if maker == "variable":
            n = ps.variable(collection, "n", [], init=jnp.ones)
            n.value = n.value + 1
            return n.value
        n = ps.get_state("n", [], init=jnp.ones, collection=collection)
        ps.set_state("n", n + 1, collection=collection)
        return n + 1

    def f():
        ps.get_state("other", [], init=jnp.ones, collection="other")
        ps.set_state("other", jnp.zeros([]), collection="other")
        logs = ps.map_variables(
            count, lambda v, _: jnp.exp(v), lambda v, _: jnp.log(v), collection=collection
        )
        return logs()

    if style == "state":
        g = ps.transform_with_state(f)
        params, state = g.init(None)
        out, after = g.apply(params, state, None)
        before, after = state["~"], after["~"]
    else:
        g = ps.transform_with_collections(f)
        variables = g.init(None)
        out, updated = g.apply(variables, None, mutable=[collection, "other"])
        before = {**variables[collection]["~"], **variables["other"]["~"]}
        after = {**updated[collection]["~"], **updated["other"]["~"]}
    assert (float(before["n"]), float(before["other"])) == (0, 1)
    same(after, {"n": jnp.log(2.0), "other": jnp.zeros([])})
    same(out, 2.0)


def test_parameters_that_are_set_and_trees():
    def tree(x):
        w = ps.variable("params", "w", init=lambda: {"a": jnp.ones([2])})
        b = ps.get_parameter("b", [], init=jnp.ones)
        w.value = {"a": w.value["a"] + 1}
        ps.set_parameter("b", b + 1)
        return x * w.value["a"]

    negative = lambda value, context: jax.tree.map(jnp.negative, value)
    g = ps.transform_with_collections(lambda x: ps.map_variables(tree, negative, negative)(x))
    variables = g.init(None, 1.0)
    identical(variables["params"]["~"], {"w": {"a": -jnp.ones([2])}, "b": -jnp.ones([])})
    out, updated = g.apply(variables, None, 1.0, mutable=["params"])
    identical(out, 2 * jnp.ones([2]))
    identical(updated["params"]["~"], {"w": {"a": -2 * jnp.ones([2])}, "b": -2 * jnp.ones([])})


@pytest.mark.parametrize("init", [False, True])
def test_initial_values(init):
    """With `init=False` they are stored as they are made, and then go through `map_in`."""
    f = ps.transform(
        lambda: ps.map_variables(
            lambda: ps.get_parameter("w", [], init=jnp.ones),
            lambda v, _: v * 2,
            lambda v, _: v / 2,
            init=init,
        )()
    )
    params = f.init(None)
    assert float(params["~"]["w"]) == (0.5 if init else 1.0)
    assert float(f.apply(params, None)) == (1.0 if init else 2.0)


def test_maps_within_maps():
    """The inner one is nearer to the function; its inverse comes first."""
    read, stored = [], []

    def say(name, into):
        def run(value, context):
            into.append(name)
            return value

        return run

    def maps(f, name):
        return ps.map_variables(f, say(name, read), say(name, stored))

    make = lambda: ps.get_parameter("w", [], init=jnp.ones)
    ps.transform(lambda: maps(maps(make, "inner"), "outer")()).init(None)
    assert (read, stored) == (["outer", "inner"], ["inner", "outer"])


def test_standardized_weights_against_numpy():
    def standardized(value, context):
        return (value - value.mean(0)) / value.std(0) if context.name == "w" else value

    f = ps.transform(lambda x: ps.map_variables(ps.Linear(2), standardized)(x))
    params = f.init(KEY, X)
    identical(params, ps.transform(lambda x: ps.Linear(2)(x)).init(KEY, X))
    w = np.asarray(params["linear"]["w"], np.float64)
    same(f.apply(params, None, X), np.asarray(X) @ ((w - w.mean(0)) / w.std(0)), rtol=1e-5)
    same(ps.bind(f, params)(X), f.apply(params, None, X))


def test_frozen():
    def f(x):
        with ps.freeze("linear/w"):
            return ps.map_variables(ps.Linear(2), transposed, transposed)(x).sum()

    f = ps.transform(f)
    params = f.init(KEY, X)
    grads = jax.grad(lambda p: f.apply(p, None, X))(params)["linear"]
    assert not np.any(grads["w"])
    assert np.any(grads["b"])


def test_other_hooks_see_what_the_function_sees_or_what_is_stored():
    """Hooks around the map see raw values, hooks inside of it mapped ones."""
    shapes = []

    def getter(next_getter, value, context):
        shapes.append(value.shape)
        return next_getter(value)

    def inner(x):
        with ps.custom_getter(getter):
            return ps.Linear(2, with_bias=False)(x)

    def f(x):
        with ps.custom_getter(getter):
            return ps.map_variables(inner, transposed, transposed)(x)

    ps.transform(f).init(KEY, X)
    assert shapes == [(2, 3), (3, 2)]


def test_what_is_set_without_an_inverse():
    f = ps.transform_with_state(
        lambda: ps.map_variables(
            lambda: ps.set_state("n", jnp.ones([])), lambda v, _: v, collection="state"
        )()
    )
    with pytest.raises(ps.errors.CollectionError, match="'~/n'.*no `map_out`"):
        f.init(None)
    with pytest.raises(ps.errors.FrameError, match="map_variables"):
        ps.map_variables(net, transposed)(X)


def test_contexts_know_the_collection():
    seen = []

    def note(next_one, *args):
        seen.append(args[-1].collection)
        return next_one(*args[:-1])

    def f():
        with (
            ps.custom_getter(note, state=True),
            ps.custom_setter(note),
            ps.custom_creator(note, state=True),
        ):
            ps.get_parameter("w", [], init=jnp.ones)
            ps.get_state("s", [], init=jnp.ones)
            ps.variable("cache", "c", [], init=jnp.ones).value = jnp.zeros([])

    for transform in (ps.transform_with_state, ps.transform_with_collections):
        seen.clear()
        transform(f).init(None)
        assert seen == ["params"] * 2 + ["state"] * 2 + ["cache"] * 3
