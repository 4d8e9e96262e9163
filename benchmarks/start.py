"""How long a program takes from its first import to the end of its first step: purestate, dm-haiku and JAX by hand.

    python benchmarks/start.py
    python benchmarks/start.py --models mlp --repeats 7

Each run is a process of its own that imports the library, makes the variables, compiles a step of
gradient descent, and runs it. JAX's cache on disk is off. The forms are run in turns.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

FOLDER = os.path.dirname(os.path.abspath(__file__))

MLP = """
def loss_of(forward):
    return lambda *args: (forward(*args) ** 2).mean()

SIZES = (512, 512, 10)
x = jnp.ones([64, 784])
"""

BY_HAND = """
def init(key):
    params, width = [], x.shape[1]
    for size in SIZES:
        key, own = jax.random.split(key)
        w = jax.random.truncated_normal(own, -2.0, 2.0, [width, size]) / width**0.5
        params.append({"w": w, "b": jnp.zeros([size])})
        width = size
    return params

def forward(params, x):
    for i, p in enumerate(params):
        x = (jax.nn.relu(x) if i else x) @ p["w"] + p["b"]
    return x

params = init(jax.random.PRNGKey(0))
"""

LIBRARY = """
pair = L.without_apply_rng(L.transform(lambda x: L.nets.MLP(SIZES)(x)))
params = pair.init(jax.random.PRNGKey(0), x)
forward = pair.apply
"""

GPT = """
import models
models.GPT_LAYERS = 48
pair = L.transform(lambda x: models.gpt_over(L)(x, True))
x = jnp.zeros([4, 64], jnp.int32)
params = INIT(pair)(jax.random.PRNGKey(0), x)
key = jax.random.PRNGKey(1)
forward = lambda params, x: pair.apply(params, key, x)
loss_of = lambda forward: lambda *args: (forward(*args) ** 2).mean()
"""

STEP = """
@jax.jit
def step(params, x):
    grads = jax.grad(loss_of(forward))(params, x)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

jax.block_until_ready(step(params, x))
"""

JAX = "import jax\nimport jax.numpy as jnp\n"

PROGRAMS = {
    "mlp": {
        "by hand": JAX + MLP + BY_HAND + STEP,
        "haiku": JAX + "import haiku as L\n" + MLP + LIBRARY + STEP,
        "purestate": JAX + "import purestate as L\n" + MLP + LIBRARY + STEP,
    },
    "gpt-48": {
        "haiku": JAX + "import haiku as L\nINIT = lambda f: f.init\n" + GPT + STEP,
        "haiku, jit": JAX + "import haiku as L\nINIT = lambda f: jax.jit(f.init)\n" + GPT + STEP,
        "purestate": JAX + "import purestate as L\nINIT = lambda f: f.init\n" + GPT + STEP,
        "fast_init": JAX + "import purestate as L\nINIT = L.fast_init\n" + GPT + STEP,
    },
}


def run(program: str) -> tuple[float, float]:
    """Returns the wall and CPU time of a program, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    settings = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "0", "PYTHONPATH": FOLDER}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env={**os.environ, **settings}, check=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="mlp,gpt-48", help="which, with commas")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is run")
    options = parser.parse_args()
    print(f"{'model':10} {'form':12} {'wall s':>8} {'CPU s':>8}   CPU to the first (least, most)")
    for model in options.models.split(","):
        times: dict[str, list[Any]] = {form: [] for form in PROGRAMS[model]}
        for _ in range(options.repeats):
            for form, program in PROGRAMS[model].items():
                times[form].append(run(program))
        first = [cpu for _, cpu in times[next(iter(times))]]
        for form, found in times.items():
            wall, cpu = (statistics.median(part) for part in zip(*found, strict=True))
            ratios = sorted(own / other for (_, own), other in zip(found, first, strict=True))
            middle = statistics.median(ratios)
            spread = f"{middle:.3f} ({ratios[0]:.3f}, {ratios[-1]:.3f})"
            print(f"{model:10} {form:12} {wall:8.2f} {cpu:8.2f}   {spread}")


if __name__ == "__main__":
    main()
