"""What is ambient: threads and tasks do not meet, and no exception leaves anything behind."""

import asyncio
import contextvars
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core import frame
from purestate._core.frame import ambient
from tests.core.raises import raises


class Stop(BaseException):
    """Like KeyboardInterrupt: not an Exception."""


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    assert ambient.get() == ((), ())


def forward(x):
    x = ps.nets.MLP([5, 4])(x)
    with ps.custom_getter(lambda next_getter, value, context: next_getter(value * 2)):
        x = ps.BatchNorm(True, True, 0.9)(ps.Linear(3)(x), is_training=True)
    return x + jax.random.normal(ps.next_rng_key(), x.shape)


def test_threads_give_what_one_after_the_other_gives():
    x = jnp.linspace(0.0, 1.0, 12).reshape(4, 3)
    f = ps.transform_with_state(forward)

    def run(seed):
        params, state = f.init(jax.random.key(seed), x)
        return f.apply(params, state, jax.random.key(seed + 1), x), params

    expected = [run(seed) for seed in range(8)]
    barrier, found = threading.Barrier(8), [None] * 8

    def work(seed):
        barrier.wait()
        for _ in range(3):
            found[seed] = run(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(expected, found, strict=True):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for leaf_a, leaf_b in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_array_equal(leaf_a, leaf_b)


def test_a_thread_sees_the_frame_only_in_its_context():
    seen = []

    def look():
        try:
            seen.append(ps.current_name())
        except ps.errors.FrameError:
            seen.append(None)

    def f():
        for target, args in ((look, ()), (contextvars.copy_context().run, (look,))):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()

    ps.transform(f).init(None)
    assert seen == [None, "~"]


def test_tasks_do_not_meet():
    async def draw(seed):
        def f():
            return ps.Linear(2)(jnp.ones([1, 2]))

        pair = ps.transform(f)
        await asyncio.sleep(0)
        params = pair.init(jax.random.key(seed))
        await asyncio.sleep(0)
        return pair.apply(params, None)

    async def main():
        return await asyncio.gather(*(draw(seed) for seed in range(4)))

    together = asyncio.run(main())
    alone = [asyncio.run(draw(seed)) for seed in range(4)]
    np.testing.assert_array_equal(np.stack(together), np.stack(alone))


def raising(*args, **kwargs):
    raise Stop


class Raises(ps.Module):
    def __init__(self, at, name=None):
        super().__init__(name=name)
        if at == "init":
            raise Stop
        self.at = at

    def __call__(self, x):
        return self.inner(x)

    def inner(self, x):
        if self.at == "method":
            raise Stop
        return x

    @property
    def value(self):
        raise Stop


X = jnp.ones([2, 3])
PLACES = {
    "body": lambda: raising(),
    "constructor": lambda: Raises("init"),
    "method": lambda: Raises("method")(X),
    "property": lambda: Raises("").value,
    "initializer": lambda: ps.get_parameter("w", [], init=raising),
    "state initializer": lambda: ps.get_state("s", [], init=raising),
    "scan": lambda: ps.scan(lambda c, x: raising(), X, X),
    "scanned": lambda: ps.scan(
        lambda c, x: (c, raising()) if isinstance(c, jax.core.Tracer) else (c, None), X, X
    ),
    "cond": lambda: ps.cond(True, raising, lambda x: x, X),
    "switch": lambda: ps.switch(0, [raising], X),
    "fori_loop": lambda: ps.fori_loop(0, 3, raising, X),
    "vmap": lambda: ps.vmap(raising, split_rng=False)(X),
    "remat": lambda: ps.remat(raising)(X),
    "jit": lambda: ps.jit(raising)(X),
    "grad": lambda: ps.grad(raising)(1.0),
    "eval_shape": lambda: ps.eval_shape(raising, X),
    "map": lambda: ps.map(raising, X),
    "purify": lambda: ps.purify(raising)(ps.get_variables(), None),
    "optimize_rng_use": lambda: ps.experimental.optimize_rng_use(raising)(),
}


def in_hooks():
    with ps.custom_getter(raising), ps.custom_creator(lambda n, s, d, i, c: n(s, d, i)):
        ps.get_parameter("w", [], init=jnp.ones)


def in_creator():
    with ps.custom_creator(raising, state=True):
        ps.get_state("w", [], init=jnp.ones)


def in_setter():
    with ps.custom_setter(raising):
        ps.set_state("w", X)


def in_interceptor():
    with ps.intercept_methods(raising):
        Raises("")


def in_scope():
    with ps.name_scope("a/b"), ps.with_rng(jax.random.key(0)):
        raising()


for function in (in_hooks, in_creator, in_setter, in_interceptor, in_scope):
    PLACES[function.__name__] = function


@pytest.mark.parametrize("run", ["init", "apply"])
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_anywhere_leaves_the_frame_usable(place, run):
    frames = []

    def f():
        before = ps.Linear(2)(X)
        with pytest.raises(Stop):
            PLACES[place]()
        hooks = set(ambient.get()[1]) - set(frame.lasting_hooks)
        frames.append((ps.current_name(), len(ambient.get()[0]), len(hooks)))
        return before + ps.Linear(2, name="after")(X)

    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0))
    if run == "apply" and place not in ("initializer", "in_hooks"):
        pair.apply(params, state, jax.random.key(0))
    assert set(frames) == {("~", 1, 0)}
    assert {"linear", "after"} <= set(params)


def test_an_exception_leaves_no_frame():
    for place in PLACES.values():
        with pytest.raises(Stop):
            ps.transform_with_state(place).init(jax.random.key(0))
        assert ambient.get() == ((), ())


def test_a_generator_keeps_to_its_own_frame():
    def f():
        def numbers():
            yield ps.get_parameter("a", [], init=jnp.ones)
            yield ps.get_parameter("b", [], init=jnp.ones)

        return list(numbers())

    assert sorted(ps.transform(f).init(None)["~"]) == ["a", "b"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.Linear(1),
        lambda: ps.get_parameter("w", []),
        lambda: ps.get_state("w"),
        lambda: ps.set_state("w", X),
        lambda: ps.next_rng_key(),
        lambda: ps.scan(lambda c, x: (c, x), 0, X),
        lambda: ps.purify(lambda: 0),
        lambda: ps.custom_getter(lambda n, v, c: n(v)),
        lambda: ps.name_scope("a"),
        lambda: ps.running_init(),
    ],
)
def test_outside_a_transform(call):
    raises(ps.errors.FrameError, "ps.transform", call=call)
