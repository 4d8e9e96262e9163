"""The same models in six ways: JAX by hand, dm-haiku, purestate, flax linen, flax nnx, equinox.

    python benchmarks/compare.py                    all of it, about 15 minutes on two cores
    python benchmarks/compare.py --quick            less than 3 minutes
    python benchmarks/compare.py --models mlp,gpt --libraries purestate,equinox
    python benchmarks/compare.py --json FILE        also writes what was measured

For each model and library:

- trace: Python and C calls while `apply` is traced once more, and CPU time.
- init: the same for `init`; by hand that is one line for each parameter, and no forward pass.
- equations of the jaxpr.
- compile: CPU time of XLA.
- HLO: instructions in the compiled program.
- step: wall time of one compiled call.

The libraries are run in turns, so that what else the machine does hits all of them, and of each turn
the ratio to JAX by hand is taken. Behind it is the range of all turns; of steps, of half of them.
Calls, equations and instructions repeat to the last digit.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from trace import contenders, cpu_time, equations, train_step
from typing import Any

import haiku
import jax
import jax.numpy as jnp
from counting import count_calls
from models import MODELS, Model, many_by_hand, many_over
from peers import PEERS
from rich.console import Console
from rich.table import Table

import purestate

BASE = "by hand"
OURS: dict[str, Any] = {"haiku": haiku, "purestate": purestate}
LIBRARIES = (BASE, *OURS, *PEERS)
GROWTH = (100, 200, 400, 800)
"""Numbers of Linear layers in a chain, for how costs grow."""

Job = tuple[Callable[..., Any], Any]
"""A function and its arguments."""


def init_by_hand(shapes: Any) -> Callable[..., Any]:
    """Returns a function that makes parameters and state of these shapes, one line for each."""

    def init(key: Any, x: Any) -> Any:
        params: dict[str, dict[str, Any]] = {}
        for module, bundle in shapes[0].items():
            made = params[module] = {}
            for name, shape in bundle.items():
                if name in ("b", "offset"):
                    made[name] = jnp.zeros(shape.shape)
                elif name == "scale":
                    made[name] = jnp.ones(shape.shape)
                else:
                    key, own = jax.random.split(key)
                    made[name] = 0.02 * jax.random.truncated_normal(own, -2.0, 2.0, shape.shape)
        return params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes[1])

    return init


def jobs_of(model: Model, name: str, libraries: list[str], size: Any = ()) -> Any:
    """Returns {library: (apply, arguments)} and {library: (init, arguments)}.

    With a `size` the variables of other libraries are shapes: XLA takes minutes over long chains.
    """
    x, key = model.inputs(), jax.random.PRNGKey(0)
    forms, args = contenders(model)
    applies: dict[str, Job] = {n: (f, args) for n, f in forms.items() if n in libraries}
    inits: dict[str, Job] = {}
    for library in libraries:
        if library in OURS:
            pair = OURS[library].transform_with_state(model.over(OURS[library]))

            def init(key: Any, x: Any, pair: Any = pair) -> Any:
                return pair.init(key, x, True)

            inits[library] = (init, (key, x))
        elif library in PEERS:
            form = PEERS[library][name](*size)
            make = jax.eval_shape if size else lambda init, key, x: jax.jit(init)(key, x)
            variables = make(form.init, key, x)
            applies[library] = (form.apply, (variables, key, x))
            inits[library] = (form.init, (key, x))
    inits[BASE] = (init_by_hand(args[:2]), (key, x))
    return {n: applies[n] for n in libraries}, {n: inits[n] for n in libraries}


def traced(job: Job) -> Any:
    """Traces a new function each time, since JAX would not trace the same one again."""
    f, args = job
    return jax.jit(lambda *a: f(*a)).trace(*args)


def in_turns(jobs: dict[str, Any], measure: Callable[[Any], float], repeats: int) -> Any:
    """Returns the measurements of each job, which are taken in turns."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            found[name].append(measure(job))
    return found


def summary(found: dict[str, list[float]]) -> dict[str, Any]:
    """Returns the median of each, and its ratio to the first: the median of all turns, and bounds.

    Half of the turns lie between the bounds; all of them, if there are fewer than 8.
    """
    first = found[next(iter(found))]
    done: dict[str, Any] = {}
    for name, values in found.items():
        ratios = sorted(a / b for a, b in zip(values, first, strict=True))
        cut = len(ratios) // 4 if len(ratios) >= 8 else 0
        spread = [statistics.median(ratios), ratios[cut], ratios[-1 - cut]]
        done[name] = {"median": statistics.median(values), "ratio": spread}
    return done


def counts(found: dict[str, int]) -> dict[str, Any]:
    return summary({name: [value] for name, value in found.items()})


def trace_costs(jobs: dict[str, Job], repeats: int) -> dict[str, Any]:
    for job in jobs.values():
        traced(job)
    return {
        "calls": counts({n: count_calls(lambda job=job: traced(job)) for n, job in jobs.items()}),
        "seconds": summary(
            in_turns(jobs, lambda job: cpu_time(lambda: traced(job)), max(repeats, 3))
        ),
        "equations": counts({n: equations(traced(job).jaxpr.jaxpr) for n, job in jobs.items()}),
    }


def process_time(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def wall_time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def program_costs(jobs: dict[str, Job], repeats: int, turns: int) -> dict[str, Any]:
    """Returns the costs of compiling, and of running what was compiled."""
    compiled: dict[str, Any] = {}

    def compile_(name: str) -> float:
        lowered = traced(jobs[name]).lower()

        def run() -> None:
            compiled[name] = lowered.compile()

        return process_time(run)

    seconds = in_turns({name: name for name in jobs}, compile_, repeats)
    instructions = {
        name: sum(" = " in line for line in program.as_text().splitlines())
        for name, program in compiled.items()
    }
    for name, program in compiled.items():
        jax.block_until_ready(program(*jobs[name][1]))
    steps = in_turns(
        {name: name for name in jobs},
        lambda name: wall_time(lambda: compiled[name](*jobs[name][1])),
        turns,
    )
    return {"compile": summary(seconds), "HLO": counts(instructions), "step": summary(steps)}


def growth(libraries: list[str], repeats: int) -> dict[str, Any]:
    """Returns CPU seconds to trace `apply` of chains of layers, by their number."""
    done: dict[str, Any] = {"layers": GROWTH, "apply": {}}
    for number in GROWTH:
        model = Model(many_over(number), many_by_hand(number), MODELS["many"].inputs)
        jobs, _ = jobs_of(model, "many", libraries, (number,))
        found = in_turns(jobs, lambda job: cpu_time(lambda: traced(job)), repeats)
        for name, seconds in found.items():
            done["apply"].setdefault(name, []).append(min(seconds))
        print(f"a chain of {number} layers is traced", flush=True)
    return done


def shown(found: dict[str, Any], name: str, digits: int = 2) -> str:
    if name not in found:
        return ""
    middle, least, most = found[name]["ratio"]
    if least == most:
        return f"{middle:.{digits}f}"
    return f"{middle:.2f} ({least:.2f}-{most:.2f})"


def table(model: str, found: dict[str, Any], libraries: list[str]) -> Table:
    made = Table(title=f"{model}: ratios to JAX by hand", title_justify="left")
    made.add_column("")
    for column in ("trace, calls", "trace, CPU", "equations", "init, calls", "compile", "HLO"):
        made.add_column(column, justify="right")
    made.add_column("step", justify="right")
    empty: dict[str, Any] = {}
    for name in libraries:
        made.add_row(
            name,
            shown(found["trace"]["calls"], name, 3),
            shown(found["trace"]["seconds"], name),
            shown(found["trace"]["equations"], name, 3),
            shown(found.get("init", {"calls": empty})["calls"], name, 3),
            shown(found.get("compile", empty), name),
            shown(found.get("HLO", empty), name, 3),
            shown(found.get("step", empty), name),
        )
    return made


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="mlp,lstm,batch_norm,resnet18,gpt,gpt step")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="which, with commas")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is compiled")
    parser.add_argument("--turns", type=int, default=50, help="how often each step is run")
    parser.add_argument("--quick", action="store_true", help="less than 3 minutes")
    parser.add_argument("--json", help="a file for what was measured")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    libraries = [name for name in LIBRARIES if name in (BASE, *options.libraries.split(","))]
    if importlib.util.find_spec("equinox") is None and "equinox" in libraries:
        print("equinox is not installed: pip install -e .[bench]")
        libraries.remove("equinox")
    repeats, turns = (1, 20) if options.quick else (options.repeats, options.turns)
    console = Console(width=max(140, Console().width))
    versions = f"Python {platform.python_version()}, jax {jax.__version__}, {jax.devices()[0]}"
    console.print(f"{versions}\n")
    done: dict[str, Any] = {"versions": versions, "models": {}}
    for name in options.models.split(","):
        if name == "gpt step":
            if options.quick:
                continue
            forms, args = contenders(MODELS["gpt"], train_step)
            applies: dict[str, Job] = {n: (f, args) for n, f in forms.items() if n in libraries}
            found = {"trace": trace_costs(applies, repeats)}
        else:
            applies, inits = jobs_of(MODELS[name], name, libraries)
            found = {
                "trace": trace_costs(applies, repeats),
                "init": trace_costs(inits, repeats),
            }
        # XLA takes as long for the two large models as for all else together.
        if not options.quick or name not in ("resnet18", "gpt"):
            found.update(program_costs(applies, repeats, turns))
        done["models"][name] = found
        console.print(table(name, found, [n for n in libraries if n in applies]))
    if not options.quick:
        done["growth"] = growth(libraries, repeats)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(done, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
