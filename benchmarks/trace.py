"""What tracing costs: purestate and dm-haiku as ratios to the same arithmetic written by hand in JAX.

    python benchmarks/trace.py                    all models, a table
    python benchmarks/trace.py --models mlp,gpt --repeats 5
    python benchmarks/trace.py --check            fails where a ratio is over its limit (for CI)

Counted are Python and C calls while `jax.jit(f).trace(...)` runs, which repeat to the last digit, and
measured is the CPU time of the thread. The three are run in turns, so that what else the machine does
hits all of them. A second trace is counted, when the caches of JAX are warm.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import haiku
import jax
import numpy as np
import optax
from counting import count_calls
from models import MODELS, Model

import purestate
from purestate._core import compiled, frame, trace_guard, variables
from purestate._layers import batch_norm
from purestate._lifted import snapshot

LIMITS = {
    "batch_norm": 0.941,
    "gpt": 0.690,
    "lstm": 0.996,
    "many": 0.887,
    "mlp": 1.016,
    "resnet18": 0.948,
    "gpt train step": 0.901,
}
"""The most calls that purestate may make for one call by hand: what was measured plus 3%."""

GUARD_LIMIT = 1.03
"""The most calls that purestate may make for one that it makes without its guards."""

FOLDER = os.path.dirname(os.path.abspath(__file__))

IMPORT_LIMIT = 0.054
"""The most calls that `import purestate` may make for one of `import haiku`, both after `import jax`.

Calls and not milliseconds, which differ by half from one machine to the next.
"""


def cpu_time(run: Callable[[], Any]) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


def equations(jaxpr: Any) -> int:
    """Returns how many equations a jaxpr has, with those of jaxprs within."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [
            p
            for p in jax.tree.leaves(list(equation.params.values()))
            if hasattr(getattr(p, "jaxpr", p), "eqns")
        ]
        total += 1 + sum(equations(getattr(p, "jaxpr", p)) for p in inner)
    return total


def train_step(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a step of language modelling: loss, gradient, Adam."""
    optimizer = optax.adam(1e-3)

    def step(params: Any, state: Any, key: Any, x: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, new_state = apply(params, state, key, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, x).mean(), new_state

        (value, new_state), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return value, optax.apply_updates(params, updates), new_state

    return step


def contenders(
    model: Model, wrap: Callable[..., Any] = lambda apply: apply
) -> tuple[dict[str, Callable[..., Any]], Any]:
    """Returns the three forms of a model as functions of the same arguments, and the arguments."""
    x, key = model.inputs(), jax.random.PRNGKey(0)
    forms: dict[str, Callable[..., Any]] = {"by hand": wrap(model.by_hand)}
    for library in (haiku, purestate):
        pair = library.transform_with_state(model.over(library))
        params, state = pair.init(key, x, True)  # not jitted: XLA takes minutes over 2,000 layers

        def apply(params: Any, state: Any, key: Any, x: Any, pair: Any = pair) -> Any:
            return pair.apply(params, state, key, x, True)

        forms[library.__name__] = wrap(apply)
    return forms, (params, state, key, x)


def measure(
    forms: dict[str, Callable[..., Any]], args: Any, repeats: int
) -> dict[str, dict[str, Any]]:
    """Traces each form, in turns; returns its calls, CPU times and equations."""

    def trace(form: str) -> Any:
        # A new function each time: JAX must not answer from its cache.
        return jax.jit(lambda *a: forms[form](*a)).trace(*args)

    found: dict[str, dict[str, Any]] = {form: {"seconds": []} for form in forms}
    for form in forms:
        found[form]["equations"] = equations(trace(form).jaxpr.jaxpr)
    for _ in range(repeats):
        for form in forms:
            found[form]["seconds"].append(cpu_time(lambda form=form: trace(form)))
    for form in forms:
        found[form]["calls"] = count_calls(lambda form=form: trace(form))
    return found


# Functions, since a call of a Mock makes many more calls than what it stands for.
def _one_trace() -> None:
    return None


def _looks_at_nothing(*args: Any) -> bool:
    return True


@contextlib.contextmanager
def no_guards() -> Iterator[None]:
    """Has purestate look at nothing that only guards against mistakes look at."""
    with contextlib.ExitStack() as patches:
        for module in (
            trace_guard,
            frame,
            snapshot,
        ):  # as if one and the same trace ran all the time
            patches.enter_context(mock.patch.object(module, "current_trace_state", _one_trace))
        for module, name in (
            (frame, "is_staging"),
            (batch_norm, "check_synchronized"),
            (trace_guard, "check_strictly"),
            (trace_guard, "check_outlives_trace"),
            (snapshot, "check_outlives"),
            (compiled, "is_known_to_jax"),
            (variables, "check_same_kind"),
            (variables, "check_size"),
            (variables, "check_arrays"),
        ):
            # Under `jax.jit` a frame is staging, which is no guard: layers go by it.
            patches.enter_context(mock.patch.object(module, name, _looks_at_nothing))
        yield


def guard_costs(jobs: dict[str, Any], repeats: int) -> dict[str, tuple[float, list[float]]]:
    """Returns, for each model, the calls with guards for one without, and ratios of CPU time, in turns."""
    costs: dict[str, tuple[float, list[float]]] = {}
    for name, (forms, args) in jobs.items():

        def trace(forms: Any = forms, args: Any = args) -> None:
            jax.jit(lambda *a: forms["purestate"](*a)).trace(*args)

        trace()
        ratios: list[float] = []
        for _ in range(max(repeats, 3)):
            guarded = cpu_time(trace)
            with no_guards():
                ratios.append(guarded / cpu_time(trace))
        guarded_calls = count_calls(trace)
        with no_guards():
            costs[name] = guarded_calls / count_calls(trace), ratios
    return costs


def check_same_results(name: str, forms: dict[str, Callable[..., Any]], args: Any) -> None:
    """Raises unless all forms compute the same, the libraries to the last bit."""
    results = {form: jax.tree.leaves(f(*args)) for form, f in forms.items()}
    for a, b in zip(results["haiku"], results["purestate"], strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{name}: haiku and purestate differ")
    for a, b in zip(results["by hand"], results["purestate"], strict=True):
        np.testing.assert_allclose(
            a, b, rtol=2e-3, atol=2e-3, err_msg=f"{name}: by hand and purestate differ"
        )


def import_cost(module: str, repeats: int) -> tuple[list[float], int]:
    """Returns the CPU milliseconds of `import module` after `import jax`, each in a new process, and its calls."""
    seconds = f"import jax, time; t = time.process_time(); import {module}; print(1000 * (time.process_time() - t))"
    calls = f"import jax, counting; print(counting.count_calls(lambda: __import__({module!r})))"
    # Compiled once, as after any first import, even where the environment forbids to write bytecode.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=FOLDER
        ).stdout

    run(seconds)
    return [float(run(seconds)) for _ in range(repeats)], int(run(calls))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", default="many,mlp,lstm,batch_norm,gpt,resnet18", help="which, with commas"
    )
    parser.add_argument("--repeats", type=int, default=5, help="how often each is timed")
    parser.add_argument("--check", action="store_true", help="fail where a limit is passed")
    options = parser.parse_args()

    jobs: dict[str, Any] = {name: contenders(MODELS[name]) for name in options.models.split(",")}
    if "gpt" in jobs:
        jobs["gpt train step"] = contenders(MODELS["gpt"], train_step)
    print(
        f"jax {jax.__version__}, Python {sys.version.split()[0]}, {options.repeats} repeats; ratios to JAX by hand\n"
    )
    print(
        f"{'model':16}{'library':12}{'calls':>9}{'ratio':>8}{'CPU ratio, median (least, most)':>36}{'equations':>11}"
    )
    too_many: list[str] = []
    for name, (forms, args) in jobs.items():
        check_same_results(name, forms, args)
        found = measure(forms, args, options.repeats)
        by_hand = found["by hand"]
        for form, got in found.items():
            ratios = [a / b for a, b in zip(got["seconds"], by_hand["seconds"], strict=True)]
            spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}, {max(ratios):.3f})"
            ratio = got["calls"] / by_hand["calls"]
            print(
                f"{name:16}{form:12}{got['calls']:9}{ratio:8.3f}{spread:>36}{got['equations']:11}",
                flush=True,
            )
            if form == "purestate" and ratio > LIMITS[name]:
                too_many.append(
                    f"{name}: {ratio:.3f} calls for one by hand, the limit is {LIMITS[name]}"
                )
        if found["purestate"]["equations"] > by_hand["equations"]:
            too_many.append(
                f"{name}: {found['purestate']['equations']} equations, by hand {by_hand['equations']}"
            )
    print("\nguards: purestate with them for one without")
    for name, (ratio, times) in guard_costs(jobs, options.repeats).items():
        print(
            f"{name:28}{'':9}{ratio:8.4f}{f'{statistics.median(times):.3f} ({min(times):.3f}, {max(times):.3f})':>36}"
        )
        if ratio > GUARD_LIMIT:
            too_many.append(
                f"{name}: guards cost {ratio:.4f} calls for one without, the limit is {GUARD_LIMIT}"
            )
    print()
    costs = {module: import_cost(module, options.repeats) for module in ("purestate", "haiku")}
    for module, (times, calls) in costs.items():
        spread = f"{statistics.median(times):.1f} ms CPU ({min(times):.1f}, {max(times):.1f})"
        print(f"import {module} over import jax: {calls} calls, {spread}")
    ratio = costs["purestate"][1] / costs["haiku"][1]
    if ratio > IMPORT_LIMIT:
        too_many.append(
            f"import purestate: {ratio:.3f} calls for one of dm-haiku's, the limit is {IMPORT_LIMIT}"
        )
    for line in too_many:
        print(f"OVER THE LIMIT  {line}")
    return 1 if options.check and too_many else 0


if __name__ == "__main__":
    sys.exit(main())
