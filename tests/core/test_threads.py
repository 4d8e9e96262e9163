"""Sixteen threads at once, tasks, generators: each run sees its own frame, its own hooks and its own settings."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core.frame import ambient
from purestate._core.observer import observing

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
THREADS = 16


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    assert ambient.get() == ((), ())
    assert observing.get() == ()


def in_a_context_of_its_own(test):
    """What the test leaves behind, if it fails, disturbs no other."""

    @functools.wraps(test)
    def run(**arguments):
        contextvars.copy_context().run(lambda: test(**arguments))

    return run


@pytest.fixture
def hasty():
    """Has threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# Several models at once


def net(x):
    x = ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([5, 4])(x), is_training=True)
    return ps.dropout(ps.next_rng_key(), 0.5, ps.Linear(3)(x))


class Nested(ps.Module):
    def __init__(self, depth, name=None):
        super().__init__(name=name)
        self.inner = [Nested(depth - 1) for _ in range(2)] if depth else []
        self.scale = ps.get_parameter("scale", [], init=ps.initializers.RandomNormal())

    def __call__(self, x):
        for inner in self.inner:
            x = inner(x)
        return self.scale * ps.Bias()(x)


def scanned(x):
    cell = ps.GRU(4)
    return ps.scan(lambda h, x: cell(x, h)[::-1], jnp.zeros([4]), x)


def hooked(x):
    def noisy(next_creator, shape, dtype, init, context):
        return next_creator(shape, dtype, init) + jax.random.normal(ps.next_rng_key(), shape, dtype)

    with (
        ps.name_scope("tower"),
        ps.custom_creator(noisy),
        ps.custom_getter(lambda n, value, c: n(2 * value)),
    ):
        return ps.layer_stack(2)(lambda x: ps.Linear(3)(x))(x)


def branches(x):
    return ps.cond(x.sum() > 0, ps.Linear(2, name="a"), lambda x: ps.Linear(2, name="b")(x), x)


def net_with_settings(x):
    with ps.config.context(rng_reserve_size=3):
        return net(x)


MODELS = {
    "net": net,
    "nested": lambda x: Nested(3)(x),
    "scanned": scanned,
    "hooked": hooked,
    "branches": branches,
    "captured": lambda x: ps.capture_intermediates(net)(x),
    "with_settings": net_with_settings,
    "path_keys": net,
}


def pair_of(model):
    return ps.transform_with_state(
        MODELS[model], rng_mode="path" if model == "path_keys" else "sequence"
    )


def run(f, seed):
    params, state = f.init(jax.random.key(seed), X)
    return params, state, f.apply(params, state, jax.random.key(seed + 1), X)


def traced(f, seed):
    """The programs that JAX makes of `init` and `apply`, and the variables, by shape."""
    init, variables = jax.make_jaxpr(f.init, return_shape=True)(jax.random.key(seed), X)
    return variables, str(init), str(jax.make_jaxpr(f.apply)(*variables, jax.random.key(0), X))


def in_threads(work, count=THREADS):
    """Returns what `work(0)`, `work(1)`, ... return, all begun at the same moment."""
    barrier = threading.Barrier(count, timeout=60)

    def begin(i):
        barrier.wait()
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def names_in(tree):
    """The keys of dicts in the order in which they were made, which a tree of JAX does not have."""
    if isinstance(tree, dict):
        return [(key, names_in(value)) for key, value in tree.items()]
    return [names_in(value) for value in tree] if isinstance(tree, tuple) else None


def assert_same(a, b):
    """The same trees with the same names in the same order, and in them the same bits."""
    assert names_in(a) == names_in(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        if isinstance(x, (str, jax.ShapeDtypeStruct)):
            assert x == y
        else:
            np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


# Loops and branches are compiled anew in each run, so these are only traced.
WAYS = {
    "run": (run, [name for name in MODELS if name not in ("scanned", "hooked", "branches")]),
    "traced": (traced, list(MODELS)),
}


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_threads_give_what_one_gives(hasty, way):
    work, names = WAYS[way]
    pairs = [pair_of(names[i % len(names)]) for i in range(THREADS)]
    expected = [work(pair, seed) for seed, pair in enumerate(pairs)]
    found = in_threads(lambda i: work(pairs[i], i))
    for a, b in zip(expected, found, strict=True):
        assert_same(a, b)


def test_sixteen_threads_ask_for_one_thing_the_first_time():
    # Parts of the library are imported when they are first asked for; here by all threads at once.
    program = """
import concurrent.futures, sys, threading
import purestate as ps
sys.setswitchinterval(1e-6)
names = ["Model", "Optimizer", "bind", "ema", "errors", "experimental", "freeze", "mixed_precision", "optim", "surgery",
         "testing", "to_dot", "trainable_mask", "trainable_only", "metrics", "stack_layers", "Linear", "LSTM", "scan", "nets"]
barrier = threading.Barrier(16, timeout=60)
def ask(i):
    barrier.wait()
    first = [getattr(ps, name) for name in names[i:] + names[:i]]  # each thread begins with another
    return first[len(names) - i :] + first[: len(names) - i]
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    found = list(pool.map(ask, range(16)))
assert all(a is b for other in found for a, b in zip(found[0], other, strict=True))
print("same")
"""
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (out.stdout, out.returncode) == ("same\n", 0), out.stderr


# What is active in one thread, or task, alone


class One(ps.Module):
    def __call__(self):
        return 1.0


def set_and_get():
    ps.set_state("s", jnp.ones([]))
    return ps.get_state("s")


def make_and_get():
    return ps.get_state(
        f"new_{threading.get_ident()}_{id(asyncio.current_task()) if in_a_loop() else 0}",
        [],
        init=jnp.ones,
    )


def in_a_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def size_of_reserve():
    keys = ps.PRNGSequence(jax.random.key(0))
    next(keys)
    return 1.0 + len(keys.internal_state[1])


# A block, and a look that finds 2 inside and 1 outside of it.
BLOCKS = {
    "custom_getter": (
        lambda: ps.custom_getter(lambda n, value, c: n(2 * value)),
        lambda: ps.get_parameter("w", [], init=jnp.ones),
    ),
    "custom_creator": (
        lambda: ps.custom_creator(lambda n, *args: 2 * n(*args[:-1]), state=True),
        make_and_get,
    ),
    "custom_setter": (lambda: ps.custom_setter(lambda n, value, c: n(2 * value)), set_and_get),
    "intercept_methods": (
        lambda: ps.intercept_methods(lambda n, args, kwargs, c: twice(n(*args, **kwargs))),
        lambda: One()(),
    ),
    "config": (lambda: ps.config.context(rng_reserve_size=2), size_of_reserve),
}


def twice(x):
    return None if x is None else 2 * x


def side_by_side_in_threads(block, look):
    """Returns what is found inside and, at the same time, outside of a block."""
    barrier = threading.Barrier(2, timeout=60)

    def one(inside):
        def f():
            with block() if inside else contextlib.nullcontext():
                barrier.wait()
                found = look()
                barrier.wait()
            return found

        return ps.transform_with_state(f).apply({"~": {"w": jnp.ones([])}}, None, None)[0]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return tuple(pool.map(one, [True, False]))


def side_by_side_in_tasks(block, look):
    async def one(inside):
        with block() if inside else contextlib.nullcontext():
            await asyncio.sleep(0)
            found = look()
            await asyncio.sleep(0)
        return found

    async def both():
        return await asyncio.gather(one(True), one(False))

    return tuple(
        ps.transform_with_state(lambda: asyncio.run(both())).apply(
            {"~": {"w": jnp.ones([])}}, None, None
        )[0]
    )


@pytest.mark.parametrize(
    "together", [side_by_side_in_threads, side_by_side_in_tasks], ids=["threads", "tasks"]
)
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_holds_in_one_thread_or_task_alone(name, together):
    assert together(*BLOCKS[name]) == (2.0, 1.0)


def test_an_interceptor_outside_of_frames_holds_in_one_task_alone():
    block, look = BLOCKS["intercept_methods"]
    f = ps.transform(look)

    async def one(inside):
        with block() if inside else contextlib.nullcontext():
            await asyncio.sleep(0)
            found = f.apply({}, None)
            await asyncio.sleep(0)
            return found, f.apply({}, None)

    async def both():
        return await asyncio.gather(one(True), one(False), one(True))

    assert asyncio.run(both()) == [(2.0, 2.0), (1.0, 1.0), (2.0, 2.0)]


def test_looking_into_a_run_is_for_that_thread_alone():
    # `specs` and `capture_intermediates` watch the next frame; those of other threads are not theirs.
    f = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    params = f.init(jax.random.key(0), X)
    plain = f.apply(params, None, X)

    def look(i):
        if i % 3 == 0:
            return ps.capture_intermediates(f).apply(params, None, X)
        return ps.specs(f)(jax.random.key(0), X) if i % 3 == 1 else f.apply(params, None, X)

    for i, found in enumerate(in_threads(look)):
        if i % 3 == 0:
            assert_same(found[0], plain)
            assert sorted(found[1]) == ["mlp", "mlp/~/linear_0", "mlp/~/linear_1"]
        elif i % 3 == 1:
            assert {spec.path: spec.module for spec in jax.tree.leaves(found)} == {
                f"mlp/~/linear_{layer}/{name}": ps.Linear for layer in (0, 1) for name in ("w", "b")
            }
        else:
            assert_same(found, plain)


# Threads that begin inside a transformed function

USES = {
    "module": lambda: ps.Linear(2)(X),
    "parameter": lambda: ps.get_parameter("w", [], init=jnp.ones),
    "state": lambda: ps.get_state("s", [], init=jnp.zeros),
    "set_state": lambda: ps.set_state("s", jnp.zeros([])),
    "key": lambda: ps.next_rng_key(),
    "name_scope": lambda: ps.name_scope("a"),
    "getter": lambda: ps.custom_getter(lambda n, value, c: n(value)),
    "scan": lambda: ps.scan(lambda c, x: (c, x), 0.0, X),
}


@pytest.mark.parametrize("use", USES)
def test_a_thread_within_has_no_frame(use):
    def f():
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with pytest.raises(
                ps.errors.FrameError, match=r"only while a transformed .*copy_context\(\)\.run"
            ):
                pool.submit(USES[use]).result()

    ps.transform_with_state(f).init(jax.random.key(0))


@pytest.mark.parametrize("use", USES)
def test_a_thread_that_is_handed_the_context_has_the_frame(use):
    def here():
        USES[use]()

    def there():
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, USES[use]).result()

    assert_same(*(ps.transform_with_state(f).init(jax.random.key(0)) for f in (here, there)))


def test_a_thread_within_leaves_the_context_it_was_handed():
    def f():
        def enter_and_stay():
            ps.custom_getter(lambda n, value, c: n(2 * value)).__enter__()
            return ps.get_parameter("w", [], init=jnp.ones)

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            there = pool.submit(contextvars.copy_context().run, enter_and_stay).result()
        return there, ps.get_parameter("w", [], init=jnp.ones)

    assert ps.transform(f).apply({"~": {"w": jnp.ones([])}}, None) == (2.0, 1.0)


@pytest.mark.parametrize("half", ["init", "apply"])
def test_tracers_in_another_thread_are_refused(half):
    # JAX's tracers belong to a thread, whatever the frame does: this is not to end in a wrong number.
    def f(x):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(contextvars.copy_context().run, lambda: ps.Linear(2)(x)).result()

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), X)
    given = (jax.random.key(0), X) if half == "init" else (params, None, X)
    with pytest.raises((jax.errors.UnexpectedTracerError, ps.errors.JaxUsageError)):
        jax.jit(getattr(pair, half))(*given)


# Generators: code that is left in the middle, and gone on with elsewhere


def parameters(block=contextlib.nullcontext):
    with block():
        yield ps.get_parameter("a", [], init=jnp.ones)
        yield ps.get_parameter("b", [], init=jnp.ones)


def doubled():
    return ps.custom_getter(lambda next_getter, value, context: next_getter(2 * value))


AB = {"~": {"a": jnp.ones([]), "b": jnp.ones([])}}


def begun_inside(block=contextlib.nullcontext):
    """Returns a generator that took its first step inside of a frame, which is over."""
    kept = []

    def f():
        kept.append(parameters(block))
        next(kept[0])

    ps.transform(f).apply(AB, None)
    return kept.pop()


@in_a_context_of_its_own
@pytest.mark.parametrize("block", [contextlib.nullcontext, doubled], ids=["plain", "in_a_block"])
def test_a_generator_outside_has_no_frame(block):
    left = begun_inside(block)
    with pytest.raises(ps.errors.FrameError, match="only while a transformed function runs"):
        next(left)


def test_a_generator_reads_where_it_runs():
    left = begun_inside()
    other = {"~": {"b": jnp.array(5.0)}}
    assert ps.transform(lambda: next(left)).apply(other, None) == 5.0


@in_a_context_of_its_own
def test_a_block_that_ends_after_its_frame_brings_nothing_back():
    begun_inside(doubled).close()
    with pytest.raises(ps.errors.FrameError):
        ps.get_parameter("a", [], init=jnp.ones)


@in_a_context_of_its_own
def test_a_block_that_ends_in_another_frame_leaves_that_one():
    left = begun_inside(doubled)

    def f():
        before = ps.get_parameter("a", [], init=jnp.ones)
        left.close()
        return before, ps.get_parameter("a", [], init=jnp.ones)

    assert ps.transform(f).apply({"~": {"a": jnp.array(5.0)}}, None) == (5.0, 5.0)


def other_scope():
    return ps.name_scope("tower")


def other_key():
    return ps.with_rng(jax.random.key(7))


# A block that a generator holds open, and a look.
HELD = {
    "custom_getter": (doubled, lambda: ps.get_parameter("a", [], init=jnp.ones)),
    "intercept_methods": (BLOCKS["intercept_methods"][0], lambda: One()()),
    "name_scope": (other_scope, lambda: ps.current_name()),
    "with_rng": (other_key, lambda: jax.random.key_data(ps.next_rng_key()).tolist()),
    "config": (BLOCKS["config"][0], size_of_reserve),
}


def held(block):
    with block():
        yield


@pytest.mark.parametrize("name", HELD)
@in_a_context_of_its_own
def test_blocks_that_end_in_another_order(name):
    block, look = HELD[name]
    expected = ps.transform_with_state(look).apply(AB, None, jax.random.key(0))[0]

    def f():
        first, second = held(block), held(block)
        next(first)
        next(second)
        first.close()
        second.close()
        return look()

    assert ps.transform_with_state(f).apply(AB, None, jax.random.key(0))[0] == expected


@pytest.mark.parametrize("name", HELD)
@in_a_context_of_its_own
def test_a_block_held_by_a_generator_ends_with_it(name):
    block, look = HELD[name]

    def f():
        for _ in held(block):
            inside = look()
        return inside, look()

    inside, after = ps.transform_with_state(f).apply(AB, None, jax.random.key(0))[0]
    if name != "with_rng":
        assert after == ps.transform_with_state(look).apply(AB, None, jax.random.key(0))[0]
    assert inside != after
