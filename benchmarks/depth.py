"""What depth costs: `layer_stack`, which compiles one layer, beside a loop of Python.

    python benchmarks/depth.py
    python benchmarks/depth.py --json FILE        adds what was measured to a file of compare.py

The program is the gradient of a Transformer with 2 to 16 equal layers. In the table are CPU seconds
to trace and to compile it, and instructions in the compiled program. Both forms are run in turns.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from compare import process_time

import purestate as ps

DEPTHS = (2, 4, 8, 16)
WIDTH, HEADS = 64, 4


def block(x: Any) -> Any:
    normed = ps.LayerNorm(-1, True, True, name="before_attention")(x)
    init = ps.initializers.TruncatedNormal(0.02)
    attention = ps.MultiHeadAttention(HEADS, WIDTH // HEADS, w_init=init, name="attention")
    x = x + attention(normed, normed, normed)
    normed = ps.LayerNorm(-1, True, True, name="before_dense")(x)
    return x + ps.nets.MLP([4 * WIDTH, WIDTH], name="dense")(normed)


class Block(ps.Module):
    def __call__(self, x: Any) -> Any:
        return block(x)


def loop(depth: int) -> Callable[[Any], Any]:
    def forward(x: Any) -> Any:
        for _ in range(depth):
            x = Block()(x)
        return x

    return forward


def stack(depth: int) -> Callable[[Any], Any]:
    return lambda x: ps.layer_stack(depth)(block)(x)


def gradient(forward: Callable[[Any], Any]) -> tuple[Callable[..., Any], Any]:
    """Returns the gradient of a loss, and the shapes of its arguments."""
    f, x = ps.transform(forward), jax.ShapeDtypeStruct([4, 32, WIDTH], jnp.float32)
    params = jax.eval_shape(f.init, jax.random.key(0), x)
    return jax.grad(lambda params, x: (f.apply(params, None, x) ** 2).mean()), (params, x)


def by_depth(repeats: int) -> dict[str, Any]:
    """Returns for each form a list over depths of the least seconds, and of instructions."""
    done: dict[str, Any] = {"depths": DEPTHS}
    for depth in DEPTHS:
        best: dict[str, Any] = {}
        for _ in range(repeats):
            for name, form in (("loop", loop), ("layer_stack", stack)):
                f, args = gradient(form(depth))
                traced: list[Any] = []
                tracing = process_time(lambda f=f: traced.append(jax.jit(f).trace(*args)))
                lowered = traced[0].lower()
                compiled: list[Any] = []
                compiling = process_time(lambda: compiled.append(lowered.compile()))
                lines = sum(" = " in line for line in compiled[0].as_text().splitlines())
                old = best.get(name, (tracing, compiling, lines))
                best[name] = (min(old[0], tracing), min(old[1], compiling), lines)
        for name, found in best.items():
            for what, value in zip(("trace", "compile", "HLO"), found, strict=True):
                done.setdefault(name, {}).setdefault(what, []).append(value)
        print(
            f"{depth:4} layers: "
            + "; ".join(
                f"{name} {t:.2f} s to trace, {c:.2f} s to compile, {n} instructions"
                for name, (t, c, n) in best.items()
            ),
            flush=True,
        )
    return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="how often each is compiled")
    parser.add_argument("--json", help="a file of compare.py")
    options = parser.parse_args()
    found = by_depth(options.repeats)
    if options.json:
        path = pathlib.Path(options.json)
        path.write_text(json.dumps({**json.loads(path.read_text()), "depth": found}, indent=1))


if __name__ == "__main__":
    main()
