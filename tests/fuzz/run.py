"""Runs many random programs through both libraries: `python -m tests.fuzz.run --programs 20000 --seed 0`.

Prints how many agree, each class of disagreement with its smallest program, and how often each feature occurs.
"""

import argparse
import collections
import random
import time
from typing import Any

import jax

from tests.fuzz.classes import UNKNOWN, classify
from tests.fuzz.programs import features, make_program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-every", type=int, default=1000)
    options = parser.parse_args()
    jax.config.update("jax_traceback_filtering", "off")  # takes a tenth of the time
    choose = random.Random(options.seed).choice
    counts: collections.Counter[str] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    smallest: dict[str, Any] = {}
    start = time.perf_counter()
    for i in range(1, options.programs + 1):
        program = make_program(choose)
        seen.update(features(program))
        kind = classify(program)
        counts[kind] += 1
        if kind not in smallest or len(str(program)) < len(str(smallest[kind])):
            if kind.startswith(UNKNOWN) and kind not in smallest:
                print(f"{kind}\n    {program}", flush=True)
            smallest[kind] = program
        if i % options.report_every == 0 or i == options.programs:
            report(i, time.perf_counter() - start, counts, smallest, seen)


def report(number: int, seconds: float, counts: Any, smallest: Any, seen: Any) -> None:
    print(f"\n{number} programs in {seconds:.0f} s, {number / seconds:.1f} a second")
    groups: collections.Counter[str] = collections.Counter()
    for kind, count in counts.items():
        groups[kind.partition(":")[0]] += count
    for group, count in groups.most_common():
        print(f"{count:6} {count / number:6.1%}  {group}")
    print("\nEach class, and a small program of it")
    for kind, count in counts.most_common():
        print(f"{count:6}  {kind}\n          {smallest[kind]}")
    print("\nPrograms with each feature")
    print(", ".join(f"{name}: {count}" for name, count in sorted(seen.items())), flush=True)


def reduced(program: Any, kind: str) -> Any:
    """Returns a smaller program of the same class, by leaving out steps and what is around them."""
    mode, key, steps = program
    while True:
        for fewer in sorted(_smaller(steps), key=lambda steps: len(str(steps))):
            if fewer and classify((mode, key, fewer)) == kind:
                steps = fewer
                break
        else:
            return mode, key, steps


def _smaller(steps: Any) -> Any:
    """All bodies that are one change smaller than `steps`."""
    for i, step in enumerate(steps):
        before, after = steps[:i], steps[i + 1 :]
        yield before + after
        for j, part in enumerate(step):
            if not isinstance(part, tuple):
                continue
            if part and isinstance(part[0][0], tuple):  # branches
                for k, body in enumerate(part):
                    yield before + body + after
                    for fewer in _smaller(body):
                        if fewer:
                            bodies = (*part[:k], fewer, *part[k + 1 :])
                            yield (*before, (*step[:j], bodies, *step[j + 1 :]), *after)
                continue
            yield before + part + after
            for fewer in _smaller(part):
                if fewer or (step[0] == "module" and j == 4):
                    yield (*before, (*step[:j], fewer, *step[j + 1 :]), *after)


if __name__ == "__main__":
    main()
