"""Step times on an accelerator: purestate and dm-haiku as ratios to JAX by hand.

    python benchmarks/accelerator.py
    python benchmarks/accelerator.py --small      tiny models, to see that it runs
    python benchmarks/accelerator.py --json FILE

GPT with 12 layers and ResNet-50, at sizes that fill a GPU of 80 GB: forward, backward and an update
by stochastic gradient descent in float32, with the matrix products of JAX's default precision. The
forms are compiled first and run in turns; of each turn the ratio is taken. Without an accelerator the
program says so and stops.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from trace import contenders
from typing import Any

import jax
import jax.numpy as jnp
import models
from models import MODELS, Model


def set_sizes(small: bool) -> dict[str, Model]:
    """Returns the models with inputs that fill the device."""
    batch, side, length = (2, 32, 16) if small else (128, 224, 1024)
    if not small:
        models.GPT_HEADS, models.GPT_WIDTH, models.GPT_VOCABULARY = 12, 768, 32768
        models.RESNET_CLASSES = 1000
    key = jax.random.PRNGKey(1)
    return {
        "GPT-12": MODELS["gpt"]._replace(
            inputs=lambda: jax.random.randint(
                key, [batch // 8 or 1, length], 0, models.GPT_VOCABULARY
            )
        ),
        "ResNet-50": MODELS["resnet50"]._replace(
            inputs=lambda: jax.random.normal(key, [batch, side, side, 3])
        ),
    }


def training_step(apply: Any) -> Any:
    def step(params: Any, state: Any, key: Any, x: Any) -> Any:
        def loss(params: Any) -> Any:
            out, new_state = apply(params, state, key, x)
            return (out.astype(jnp.float32) ** 2).mean(), new_state

        grads, new_state = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), new_state

    return step


def measure(model: Model, turns: int) -> dict[str, Any]:
    """Returns for each form the median step in ms, and its ratio to the first with quartiles."""
    forms, (params, state, key, x) = contenders(model, training_step)
    steps: dict[str, Any] = {}
    memory: dict[str, int] = {}
    for name, form in forms.items():
        steps[name] = jax.jit(form).lower(params, state, key, x).compile()
        memory[name] = steps[name].memory_analysis().temp_size_in_bytes
        jax.block_until_ready(steps[name](params, state, key, x))
    found: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(turns):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(params, state, key, x))
            found[name].append(time.perf_counter() - start)
    first = next(iter(found.values()))
    done: dict[str, Any] = {}
    for name, seconds in found.items():
        ratios = [a / b for a, b in zip(seconds, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios)
        done[name] = {
            "ms": 1e3 * statistics.median(seconds),
            "ratio": [middle, low, high],
            "temporaries in GB": memory[name] / 1e9,
        }
    return done


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=30, help="how often each step is run")
    parser.add_argument("--small", action="store_true", help="tiny models, on any device")
    parser.add_argument("--json", help="a file for what was measured")
    options = parser.parse_args()
    device = jax.devices()[0]
    if device.platform == "cpu" and not options.small:
        print("JAX finds no accelerator here. --small runs tiny models on the CPU.")
        return 0
    print(f"{device.device_kind}, jax {jax.__version__}")
    done: dict[str, Any] = {}
    for name, model in set_sizes(options.small).items():
        done[name] = measure(model, options.turns)
        for form, found in done[name].items():
            middle, low, high = found["ratio"]
            print(
                f"{name:10} {form:10} {found['ms']:9.2f} ms  {middle:.3f} ({low:.3f}, {high:.3f})"
                f"  {found['temporaries in GB']:.2f} GB",
                flush=True,
            )
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(done, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
