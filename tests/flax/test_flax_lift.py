"""Modules of flax in transformed functions: as dm-haiku's, and as flax alone."""

from typing import Any

import flax.errors
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate.experimental import flax as ps_flax
from tests.flax.test_flax_module import X, assert_same_bits

LIBS = [(ps, ps_flax), (hk, hk.experimental.flax)]


class Net(nn.Module):
    """Parameters, two other collections, random keys; some in a child."""

    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:
        # As random in `init` as the parameters.
        x = (
            x
            + self.variable(
                "noise", "noise", lambda: jax.random.normal(self.make_rng("params"), [])
            ).value
        )
        x = nn.relu(nn.Dense(8)(x))
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        calls = self.variable("counts", "calls", lambda: jnp.zeros([], jnp.int32))
        if not self.is_initializing():
            calls.value += 1
        return nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(2)])(x) * self.param(
            "scale", nn.initializers.normal(), [2]
        )


def in_module(lib: Any, lib_flax: Any, x: Any) -> Any:
    class Outer(lib.Module):
        def __call__(self, x: Any) -> Any:
            x = lib.Linear(5)(x)
            first = lib_flax.lift(Net(), name="first")
            x = first(x, rngs={"dropout": lib.next_rng_key(), "params": lib.next_rng_key()})
            x = lib_flax.lift(nn.Dense(5), name="second")(x)
            return lib.Linear(1)(x)

    with lib.name_scope("scope"):
        return Outer()(x)


def called_twice(lib: Any, lib_flax: Any, x: Any) -> Any:
    net = lib_flax.lift(Net(), name="net")
    lib_flax.lift(nn.Dense(5), name="net")  # its name is taken; never called
    return net(x, rngs={"dropout": lib.next_rng_key()}) + net(x, False)


def both_ways(lib: Any, lib_flax: Any, x: Any) -> Any:
    """Modules of the library in a module of flax in a module of the library."""

    def inner(x: Any) -> Any:
        x = lib.nets.MLP([3, 4])(x) * lib.get_parameter(
            "scale", [], init=lib.initializers.RandomNormal()
        )
        return lib.BatchNorm(True, True, 0.9)(x, is_training=True)

    seen: list[tuple[str, str | None]] = []

    def creator(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
        seen.append((context.full_name, context.lifted_prefix_name))
        return next_creator(shape, dtype, init)

    class Middle(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(2)(lib_flax.Module(lib.transform_with_state(inner))(nn.Dense(6)(x)))

    with lib.custom_creator(creator):
        out = lib_flax.lift(Middle(), name="middle")(lib.Linear(3)(x))
    # In the state, so that it can be compared after `init`.
    lib.set_state("seen", np.frombuffer(repr(seen).encode(), np.uint8))
    return out


@pytest.mark.parametrize(
    "net",
    [*(pytest.param(net, marks=pytest.mark.slow) for net in (in_module, called_twice)), both_ways],
)
def test_variables_and_steps_as_in_dm_haiku(net: Any):
    results: list[Any] = []
    for lib, lib_flax in LIBS:
        f = lib.transform_with_state(lambda x, lib=lib, lib_flax=lib_flax: net(lib, lib_flax, x))
        params, state = f.init(jax.random.PRNGKey(1), X)
        steps: list[Any] = [(params, state)]

        def loss(params: Any, state: Any, key: Any, f: Any = f) -> Any:
            out, state = f.apply(params, state, key, X)
            return jnp.sum(out**2), (out, state)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        for i in range(3):
            (_, (out, state)), grads = step(params, state, jax.random.PRNGKey(i))
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
            steps.append((params, state, out))
        results.append(steps)
    assert_same_bits(*results)


def test_computes_what_flax_computes():
    f = ps.transform_with_state(
        lambda x, key: ps_flax.lift(Net(), name="net")(x, rngs={"dropout": key})
    )
    params, state = f.init(jax.random.key(0), X, jax.random.key(1))
    variables: dict[str, Any] = {
        "params": {
            "scale": params["net/~"]["scale"],
            **{
                name: params[f"net/{name}"]
                for name in ("Dense_0", "Dense_1", "Dense_2", "BatchNorm_0")
            },
        },
        "batch_stats": {"BatchNorm_0": state["net/batch_stats/BatchNorm_0"]},
        "counts": {"calls": state["net/counts/~"]["calls"]},
        "noise": {"noise": state["net/noise/~"]["noise"]},
    }
    assert jax.tree.structure(variables) == jax.tree.structure(
        Net().init(jax.random.key(0), X, False)
    )

    def ours_loss(params: Any, state: Any, key: Any) -> Any:
        out, state = f.apply(params, state, None, X, key)
        return jnp.sum(out**2), state

    def flax_loss(params: Any, rest: Any, key: Any) -> Any:
        out, rest = Net().apply(
            {"params": params, **rest},
            X,
            rngs={"dropout": key},
            mutable=["batch_stats", "counts", "noise"],
        )
        return jnp.sum(out**2), rest

    rest = {name: variables[name] for name in ("batch_stats", "counts", "noise")}
    for i in range(3):
        key = jax.random.key(i)
        (loss, state), grads = jax.jit(jax.value_and_grad(ours_loss, has_aux=True))(
            params, state, key
        )
        (expected, rest), flax_grads = jax.jit(jax.value_and_grad(flax_loss, has_aux=True))(
            variables["params"], rest, key
        )
        assert_same_bits(loss, expected)
        assert_same_bits(grads["net/Dense_2"], flax_grads["Dense_2"])
        assert_same_bits(state["net/batch_stats/BatchNorm_0"], rest["batch_stats"]["BatchNorm_0"])
        assert state["net/counts/~"]["calls"] == rest["counts"]["calls"] == i + 1


def test_params_are_those_of_flax_for_the_key():
    f = ps.transform(
        lambda x: ps_flax.lift(nn.Dense(3), name="dense")(x, rngs={"params": jax.random.key(5)})
    )
    params = f.init(None, X)
    assert_same_bits(params["dense/~"], nn.Dense(3).init(jax.random.key(5), X)["params"])


def test_no_more_equations_than_flax():
    f = ps.transform(lambda x: ps_flax.lift(nn.Dense(3), name="dense")(x))
    params = f.init(jax.random.key(0), X)
    ours = jax.make_jaxpr(f.apply)(params, None, X)
    theirs = jax.make_jaxpr(nn.Dense(3).apply)({"params": params["dense/~"]}, X)
    assert [str(eqn.primitive) for eqn in ours.eqns] == [str(eqn.primitive) for eqn in theirs.eqns]


class Counter(nn.Module):
    @nn.compact
    def __call__(self) -> Any:
        n = self.variable("counts", "n", lambda: jnp.zeros([], jnp.int32))
        if not self.is_initializing():
            n.value += 1
        return n.value


def test_state_of_two_of_one_name():
    # dm-haiku writes the state of both to the first.
    def f() -> Any:
        first, second = (
            ps_flax.lift(Counter(), name="counter"),
            ps_flax.lift(Counter(), name="counter"),
        )
        return first(), second(), second()

    g = ps.transform_with_state(f)
    params, state = g.init(jax.random.key(0))
    assert state == {"counter/counts/~": {"n": 0}, "counter_1/counts/~": {"n": 0}}
    out, state = g.apply(params, state, None)
    assert out == (1, 1, 2)
    assert state == {"counter/counts/~": {"n": 1}, "counter_1/counts/~": {"n": 2}}


def test_state_of_one_that_is_made_in_init():
    # dm-haiku writes it to another place than it reads it from.
    class Outer(ps.Module):
        def __init__(self) -> None:
            super().__init__()
            self.counter = ps_flax.lift(Counter(), name="counter")

        def __call__(self) -> Any:
            return self.counter()

    g = ps.transform_with_state(lambda: Outer()())
    params, state = g.init(jax.random.key(0))
    for n in range(1, 4):
        out, state = g.apply(params, state, None)
        assert out == n
        assert state == {"outer/~/counter/counts/~": {"n": n}}


def test_in_transforms_of_purestate():
    def f(x: Any) -> Any:
        counter = ps_flax.lift(Counter(), name="counter")
        dense = ps_flax.lift(nn.Dense(6), name="dense")

        def step(x: Any, _: Any) -> Any:
            return dense(x), counter()

        x, counts = ps.scan(step, x, None, length=4)
        return ps.remat(dense)(x), counts

    g = ps.transform_with_state(f)
    params, state = g.init(jax.random.key(0), X)
    (out, counts), new_state = jax.jit(g.apply)(params, state, None, X)
    first = int(state["counter/counts/~"]["n"])
    assert counts.tolist() == [first + i for i in range(1, 5)]
    assert new_state["counter/counts/~"]["n"] == first + 4
    expected = X
    for _ in range(5):
        expected = nn.Dense(6).apply({"params": params["dense/~"]}, expected)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("call", ["init", "apply"])
def test_state_in_a_plain_jax_transform_is_an_error(call: str):
    def f(plain: bool) -> Any:
        counter = ps_flax.lift(Counter(), name="counter")
        return jax.jit(counter)() if plain else counter()

    g = ps.transform_with_state(f)
    with pytest.raises(ps.errors.JaxUsageError, match="counter"):
        if call == "init":
            g.init(jax.random.key(0), True)
        else:
            g.apply(*g.init(jax.random.key(0), False), None, True)


def test_lifted_is_a_module():
    def f(x: Any) -> Any:
        dense = ps_flax.lift(nn.Dense(3), name="dense")
        dense(x)
        return dense.params_dict()

    g = ps.transform(f)
    params = g.init(jax.random.key(0), X)
    assert sorted(g.apply(params, None, X)) == ["dense/~/bias", "dense/~/kernel"]


def test_errors():
    with pytest.raises(ps.errors.FrameError, match="lift"):
        ps_flax.lift(nn.Dense(3), name="dense")

    def f(x: Any, **options: Any) -> Any:
        return ps_flax.lift(nn.Dense(3), name="dense")(x, **options)

    g = ps.transform(f)
    with pytest.raises(flax.errors.InvalidRngError, match="'dense'") as wrong_rngs:
        g.init(jax.random.key(0), X, rngs=jax.random.key(1))
    assert isinstance(wrong_rngs.value, ps.errors.PurestateError)
    with pytest.raises(flax.errors.InvalidRngError):
        g.init(None, X)
    with pytest.raises(flax.errors.FlaxError) as missing:
        g.apply({}, None, X)
    assert any("'dense'" in note for note in missing.value.__notes__)
