"""Methods that run later: each step of a generator or coroutine runs in the scope of its module."""

import asyncio

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


class Late(ps.Module):
    def one_by_one(self):
        yield ps.get_parameter("w", [], init=jnp.ones)

    async def in_time(self):
        return ps.get_parameter("w", [], init=jnp.ones)

    async def in_time_one_by_one(self):
        yield ps.get_parameter("w", [], init=jnp.ones)


async def drain(many):
    return [one async for one in many]


LATE = {
    "generator": lambda: list(Late().one_by_one()),
    "async": lambda: asyncio.run(Late().in_time()),
    "async_generator": lambda: asyncio.run(drain(Late().in_time_one_by_one())),
}


@pytest.mark.parametrize("kind", LATE)
def test_each_module_has_parameters_of_its_own_in_methods_that_run_later(kind):
    assert sorted(ps.transform(lambda: [LATE[kind](), LATE[kind]()]).init(None)) == [
        "late",
        "late_1",
    ]


class Layers(ps.Module):
    def layers(self):
        for size in (3, 2):
            answer = yield ps.Linear(size)
            assert answer in (None, "sent")

    def __call__(self, x):
        for layer in self.layers():
            x = layer(x)
        return x

    def sends(self, x):
        layers = self.layers()
        x = next(layers)(x)
        return layers.send("sent")(x)


class HaikuLayers(hk.Module):
    def layers(self):
        for size in (3, 2):
            yield hk.Linear(size)

    def __call__(self, x):
        for layer in self.layers():
            x = layer(x)
        return x


def test_a_generator_in_its_own_module_names_as_dm_haiku_does():
    x, key = jnp.ones([1, 4]), jax.random.PRNGKey(0)
    ours = ps.transform(lambda x: Layers(name="net")(x)).init(key, x)
    theirs = hk.transform(lambda x: HaikuLayers(name="net")(x)).init(key, x)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert list(ps.transform(lambda x: Layers(name="net").sends(x)).init(key, x)) == [
        "net/~sends/linear",
        "net/~sends/linear_1",
    ]
    outside = ps.transform(
        lambda x: [layer(x.T @ x)[:, :1] for layer in Layers(name="net").layers()]
    ).init(key, x)
    assert list(outside) == ["net/~layers/linear", "net/~layers/linear_1"]


def test_a_generator_that_is_closed_or_thrown_into():
    class Careful(ps.Module):
        def steps(self):
            try:
                yield ps.get_parameter("a", [], init=jnp.ones)
            except KeyError:
                yield ps.get_parameter("b", [], init=jnp.ones)
            finally:
                closed.append(ps.current_name())

    closed = []

    def f():
        steps = Careful(name="m").steps()
        next(steps)
        steps.throw(KeyError())
        steps.close()
        return ps.current_name()

    params = ps.transform(f).init(None)
    assert jax.tree.map(float, params) == {"m": {"a": 1.0, "b": 1.0}}
    assert ps.transform(f).apply(params, None) == "~"
    assert closed == ["~", "~"]  # an ending is no step: it makes nothing


def generator_function():
    yield ps.get_parameter("w", [], init=jnp.ones)


async def async_function():
    return ps.get_parameter("w", [], init=jnp.ones)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("f", [generator_function, async_function])
def test_a_function_that_runs_later_is_refused(f):
    with pytest.raises(ps.errors.PurestateError):
        ps.transform(f).init(None)
