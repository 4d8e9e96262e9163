"""The same model is the same program in the next process, so that JAX's cache on disk finds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
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
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
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
