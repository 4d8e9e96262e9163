"""Blocks around compiled functions: as if the function were not compiled, whatever was called before."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
KEY = jax.random.key(0)


def forward(x):
    x = ps.Linear(4, name="first")(x)
    ps.next_rng_key()
    x = x * jax.random.normal(ps.next_rng_key(), x.shape)
    return ps.Linear(2, name="second")(x)


def doubled(next_method, args, kwargs, context):
    out = next_method(*args, **kwargs)
    return 2 * out if context.method_name == "__call__" else out


def ones(next_creator, shape, dtype, init, context):
    return next_creator(shape, dtype, jnp.ones)


POLICY = ps.mixed_precision.get_named_policy("params=float32,compute=bfloat16,output=float32")


@contextlib.contextmanager
def policy_set():
    ps.mixed_precision.set_policy(ps.Linear, POLICY)
    try:
        yield
    finally:
        ps.mixed_precision.clear_policy(ps.Linear)


@contextlib.contextmanager
def config_set():
    ps.config.set(rng_reserve_size=5)
    try:
        yield
    finally:
        ps.config.set(rng_reserve_size=1)


BLOCKS = {
    "freeze": lambda: ps.freeze("first/*"),
    "freeze_predicate": lambda: ps.freeze(lambda module, name, value: name == "b"),
    "intercept_methods": lambda: ps.intercept_methods(doubled),
    "intercept_lambda": lambda: ps.intercept_methods(lambda f, a, k, c: f(*a, **k) * 1.5
                                                     if c.method_name == "__call__" else f(*a, **k)),
    "config": lambda: ps.config.context(rng_reserve_size=4),
    "config_set": config_set,
    "push_policy": lambda: ps.mixed_precision.push_policy(ps.Linear, POLICY),
    "set_policy": policy_set,
    "lora": lambda: ps.lora(rank=2),
    "two": lambda: both(ps.freeze("first/*"), ps.intercept_methods(doubled)),
}  # fmt: skip


@contextlib.contextmanager
def both(first, second):
    with first, second:
        yield


F = ps.transform(forward)
with ps.lora(rank=2):
    PARAMS = F.init(KEY, X)
PARAMS["first"]["lora_b"] = PARAMS["first"]["lora_b"] + 0.3


def loss(params, x):
    return (F.apply(params, KEY, x) ** 2).sum()


CALLS = {
    "grad": (jax.grad(loss), lambda: jax.jit(jax.grad(loss))),
    "apply": (lambda p, x: F.apply(p, KEY, x), lambda: jax.jit(lambda p, x: F.apply(p, KEY, x))),
    "grad_of_jit": (jax.grad(loss), lambda: jax.grad(jax.jit(loss))),
    "vmap_of_jit": (
        jax.vmap(lambda p, x: F.apply(p, KEY, x), (None, 0)),
        lambda: jax.vmap(jax.jit(lambda p, x: F.apply(p, KEY, x)), (None, 0)),
    ),
    "scan": (
        lambda p, x: jax.lax.scan(lambda c, x: (c, F.apply(p, KEY, x)), 0, x)[1],
        lambda: jax.jit(lambda p, x: jax.lax.scan(lambda c, x: (c, F.apply(p, KEY, x)), 0, x)[1]),
    ),
}


def same(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=1e-5), a, b)


def differs(a, b):
    return any(
        not np.allclose(x, y, rtol=1e-3)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.one_in(2)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("block", BLOCKS)
def test_inside_and_outside(block, call):
    plain, make = CALLS[call]
    compiled = make()
    outside = plain(PARAMS, X)
    with BLOCKS[block]():
        inside = plain(PARAMS, X)
    expect_change = not (block.startswith("freeze") and "grad" not in call)
    assert differs(inside, outside) == expect_change
    for _ in range(2):  # in either order, and again
        same(compiled(PARAMS, X), outside)
        with BLOCKS[block]():
            same(compiled(PARAMS, X), inside)
    same(compiled(PARAMS, X), outside)


@pytest.mark.parametrize("block", ["freeze", "intercept_methods", "config", "lora", "push_policy"])
def test_the_same_block_again_does_not_trace_again(block):
    traces = []

    @jax.jit
    def apply(params, x):
        traces.append(1)
        return F.apply(params, KEY, x)

    for _ in range(4):
        with BLOCKS[block]():
            apply(PARAMS, X)
        apply(PARAMS, X)
    assert len(traces) == 2


def test_blocks_that_end_in_any_order():
    @jax.jit
    def apply(x):
        return F.apply(PARAMS, KEY, x)

    def block(factor):
        def interceptor(next_method, args, kwargs, context):
            out = next_method(*args, **kwargs)
            return factor * out if context.method_name == "__call__" else out

        with ps.intercept_methods(interceptor):
            yield

    base = apply(X)
    first, second = block(2.0), block(3.0)
    next(first)
    next(second)
    next(first, None)  # ends before the second, which began later
    assert differs(apply(X), base)
    next(second, None)
    same(apply(X), base)


def test_a_thread_with_the_blocks_of_another_is_an_error():
    """JAX keeps what a function was compiled for by thread, so that it would answer for other blocks."""
    import contextvars

    errors = []

    def run():
        try:
            jax.jit(lambda x: F.apply(PARAMS, KEY, x))(X)
        except ps.errors.FrameError as error:
            errors.append(error)

    with ps.freeze("first/*"):
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(run))
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "Enter the block in the thread" in str(errors[0])


# In the next process, so that JAX's cache on disk finds it

STEP_IN_A_PROCESS = """
import hashlib
import jax, jax.numpy as jnp
import purestate as ps

def net(x):
    x = ps.layer_stack(2)(lambda x: x + ps.nets.MLP([8, 3])(ps.LayerNorm(-1, True, True)(x)))(x)
    x = ps.remat(ps.Linear(3))(x)
    x = ps.scan(lambda c, x: (c, ps.dropout(ps.next_rng_key(), 0.5, ps.Linear(3)(x))), 0, x)[1]
    x = ps.BatchNorm(True, True, 0.9)(x, is_training=True)
    return ps.GroupedQueryAttention(1, 4)(x[None])[0]

f = ps.transform_with_state(net)
x, key = jnp.ones([4, 3]), jax.random.key(0)
params, state = f.init(key, x)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))

def loss(params, state, key, x):
    out, state = f.apply(params, state, key, x)
    return out.sum(), state

with ps.freeze("batch_norm"), ps.config.context(new_state="off"):
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    text = step.lower(params, state, key, x).as_text()
    hits.clear()
    step.lower(params, state, key, x).compile()
print(hashlib.sha256(text.encode()).hexdigest(), "/jax/compilation_cache/cache_hits" in hits)
"""


@pytest.mark.slow
def test_the_cache_of_another_process_is_used(tmp_path):
    def run(seed):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", STEP_IN_A_PROCESS],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first, second = run("1"), run("2")
    assert first[1] == "False"
    assert second == [first[0], "True"]
