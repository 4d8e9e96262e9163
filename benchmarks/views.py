"""What a training step over `ps.bind` and `ps.Optimizer` costs, against the same step on plain dicts.

    python benchmarks/views.py
    python benchmarks/views.py --check            fails where it is over the limit (for CI)

Both steps are jitted and compute the same; the layers are so small that most of the time goes into handing over 400 arrays.
A form that does nothing else, `jax.jit(lambda carry: carry)`, is measured besides: there, the arrays are all. The forms
are run in turns, so that what else the machine does hits them all, and of each turn the ratio of the times is taken.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from counting import count_calls

import purestate as ps

MOST_CALLS = 24
"""The most Python and C calls that a step over views may make, whatever the number of arrays.

The goal is a time of at most 1.1 of that on dicts; `--check` looks at the calls, which other work of a machine does not change.
"""

NUM_LAYERS = 66
"""So that parameters, state and moments are 400 arrays."""


class Net(ps.Module):
    """Many small layers, so that next to nothing is computed for each array."""

    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(NUM_LAYERS):
            x = jnp.tanh(ps.Linear(4)(x))
        for i in range(4):
            n = ps.get_state(f"n{i}", [], init=jnp.zeros)
            ps.set_state(f"n{i}", n + 1)
        return x


def loss_of(y: jax.Array) -> jax.Array:
    return (y**2).mean()


def steps() -> tuple[dict[str, tuple[Callable[..., Any], Any]], jax.Array]:
    """Returns, for each form, the step and what it carries; and the input."""
    f, tx = ps.transform_with_state(lambda x: Net()(x)), optax.adam(1e-3)
    x = jnp.ones([2, 4])
    params, state = f.init(jax.random.key(0), x)

    def on_dicts(carry: Any, x: Any) -> Any:
        params, state, opt_state = carry

        def loss(params: Any) -> Any:
            y, new_state = f.apply(params, state, None, x)
            return loss_of(y), new_state

        grads, state = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), state, opt_state

    def over_views(carry: Any, x: Any) -> Any:
        model, opt = carry

        def loss(params: Any) -> Any:
            new = model.update(params)
            return loss_of(new(x)), new

        params = model.parameters()
        grads, model = jax.grad(loss, has_aux=True)(params)
        params, opt = opt.update(grads, params)
        return model.update(params), opt

    forms = {
        "dicts": (jax.jit(on_dicts), (params, state, tx.init(params))),
        "views": (
            jax.jit(over_views),
            (ps.bind(Net, params, state), ps.Optimizer(tx).init(params)),
        ),
    }
    return forms, x


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200, help="how many turns")
    parser.add_argument("--check", action="store_true", help="fail where the limit is passed")
    options = parser.parse_args()

    forms, x = steps()
    carries = {form: carry for form, (_, carry) in forms.items()}
    for form, (step, _) in forms.items():
        for _ in range(3):
            carries[form] = step(carries[form], x)
    dicts, views = (jax.tree.leaves(carries[form]) for form in forms)
    for a, b in zip(dicts, views, strict=True):
        np.testing.assert_array_equal(a, b, err_msg="the two steps differ")

    print(
        f"jax {jax.__version__}, Python {sys.version.split()[0]}, {len(dicts)} arrays, {options.repeats} turns\n"
    )
    print(f"{'':24}{'on dicts':>12}{'views':>12}   ratio, median (quartiles){'calls':>18}")
    too_many: list[str] = []
    handing_over = {
        form: (jax.jit(lambda carry, x: carry), carry) for form, (_, carry) in forms.items()
    }
    for name, kind in (("training step", forms), ("handing over alone", handing_over)):
        seconds = measure(
            {form: (step, carries[form]) for form, (step, _) in kind.items()}, x, options.repeats
        )
        calls = [
            count_calls(lambda step=step, form=form: step(carries[form], x))
            for form, (step, _) in kind.items()
        ]
        ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
        low, ratio, high = statistics.quantiles(ratios)
        times = "".join(f"{1e6 * statistics.median(each):9.0f} us" for each in seconds.values())
        print(f"{name:24}{times}   {ratio:.3f} ({low:.3f}, {high:.3f}){calls[0]:18} and {calls[1]}")
        if calls[1] > MOST_CALLS:
            too_many.append(f"{name}: {calls[1]} calls, the limit is {MOST_CALLS}")
    for line in too_many:
        print(f"OVER THE LIMIT  {line}")
    return 1 if options.check and too_many else 0


def measure(
    forms: dict[str, tuple[Callable[..., Any], Any]], x: Any, repeats: int
) -> dict[str, list[float]]:
    """Runs the forms in turns; returns the seconds of each turn."""
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for turn in range(repeats + 5):
        for form, (step, carry) in forms.items():
            start = time.perf_counter()
            out = jax.block_until_ready(step(carry, x))
            if turn >= 5:
                seconds[form].append(time.perf_counter() - start)
            del out  # here, so that its time counts for none
    return seconds


if __name__ == "__main__":
    sys.exit(main())
