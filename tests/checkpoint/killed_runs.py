"""Trains with a `Checkpointer`, is killed again and again at random moments, and goes on each time.

`python -m tests.checkpoint.killed_runs FOLDER KILLS SEED` prints what came out. Each run is a fork of
this process, which has imported everything but has not started JAX.
"""

import functools
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint  # noqa: F401 (before the fork)

import purestate as ps

DATA = np.random.default_rng(0).normal(size=[20, 3]).astype(np.float32)
ORDER_KEY, BATCH, PER_EPOCH = 7, 4, 5
TX = optax.adam(0.1)


def forward(x: Any) -> Any:
    h = ps.BatchNorm(True, True, 0.9)(ps.Linear(4)(x), is_training=True)
    return ps.Linear(1)(ps.dropout(ps.next_rng_key(), 0.5, h))


F = ps.transform_with_state(forward)


def new_state() -> Any:
    return ps.TrainState.create(F, TX, 0, jnp.zeros([BATCH, 3]))


def batch_of(step: int) -> Any:
    """The batch of a step follows from its number, so a resumed run sees the same data."""
    epoch, place = divmod(step, PER_EPOCH)
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(ORDER_KEY), epoch), len(DATA))
    return DATA[order[place * BATCH :][:BATCH]]


@functools.partial(jax.jit, donate_argnums=0)
def train_step(train: Any, x: Any) -> Any:
    def loss_fn(params: Any) -> Any:
        out, state = F.apply(params, train.state, train.step_rng(), x)
        return (out**2).mean(), state

    grads, state = jax.grad(loss_fn, has_aux=True)(train.params)
    return train.update(TX, grads, state)


def digest(train: Any) -> str:
    plain = train._replace(rng=jax.random.key_data(train.rng))
    return hashlib.sha256(
        b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(plain))
    ).hexdigest()


def log(folder: Path, **entry: Any) -> None:
    file = os.open(folder / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (json.dumps(entry) + "\n").encode())
    os.close(file)


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def run(folder: Path, steps: int | None, background: bool) -> None:
    """Goes on from the newest step, for `steps` steps or for ever; saves every step."""
    kwargs: Any = {"keep": 2, "best": "loss", "background": background}
    with ps.checkpoint.Checkpointer(folder / "run", **kwargs) as checkpoints:
        if checkpoints.latest_step() is None:
            train = new_state()
        else:
            train = checkpoints.restore(into=jax.eval_shape(new_state))
        first = int(train.step)
        log(folder, resumed=first, digest=digest(train))
        for step in range(first, sys.maxsize if steps is None else first + steps):
            train = train_step(train, batch_of(step))
            log(folder, saving=step + 1)
            checkpoints.save(step + 1, train, {"loss": -step % 7})
            # In the background, only the step before is known to be on the disk.
            log(folder, saved=step if background else step + 1)
    log(folder, finished=int(train.step))


def fork(folder: Path, steps: int | None, background: bool) -> int:
    child = os.fork()
    if child == 0:
        try:
            run(folder, steps, background)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def kill_one(folder: Path, number: int, chance: random.Random) -> None:
    """Starts a run, and kills it at a random moment of its first, second or third step."""
    child = fork(folder, None, background=number % 2 == 0)
    before, wanted, started = len(entries(folder)), chance.randint(1, 3), time.monotonic()
    while sum("saving" in entry for entry in entries(folder)[before:]) < wanted:
        if os.waitpid(child, os.WNOHANG)[0]:
            raise SystemExit("a run ended by itself")
        if not any("saving" in entry for entry in entries(folder)[before:]):
            started = time.monotonic()
        time.sleep(0.005)
    a_step = (time.monotonic() - started) / (wanted - 1) if wanted > 1 else 0.5
    time.sleep(chance.uniform(0, a_step))
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        raise SystemExit("a run ended by itself")
    log(folder, killed=number)


def check(folder: Path) -> dict[str, Any]:
    """Compares every resumed state, and the last one, with a run that was never interrupted."""
    log_entries = entries(folder)
    finished = log_entries[-1]["finished"]
    train, expected = new_state(), {}
    for step in range(finished + 1):
        expected[step] = digest(train)
        train = train_step(train, batch_of(step))
    saved, lost, wrong, in_save, resumed = 0, [], [], 0, []
    for before, entry in zip([{}, *log_entries], log_entries, strict=False):
        saved = max(saved, entry.get("saved", 0))
        in_save += "killed" in entry and "saving" in before
        if "resumed" in entry:
            resumed.append(entry["resumed"])
            lost += [entry] if entry["resumed"] < saved else []
            wrong += [entry] if entry["digest"] != expected[entry["resumed"]] else []
    with ps.checkpoint.Checkpointer(folder / "run", best="loss") as checkpoints:
        steps, best = checkpoints.all_steps(), checkpoints.best_step()
        last = digest(checkpoints.restore(into=jax.eval_shape(new_state)))
    return {
        "kills": sum("killed" in entry for entry in log_entries),
        "kills in the call of save": in_save,
        "steps": finished,
        "kept": steps,
        "best": best,
        "resumed after": resumed,
        "lost": lost,
        "wrong": wrong,
        "last is equal": last == expected[finished],
        "left over": sorted(
            path.name for path in (folder / "run").iterdir() if not path.name.isdigit()
        ),
    }


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    chance = random.Random(seed)
    (folder / "log.jsonl").touch()
    for number in range(kills):
        kill_one(folder, number, chance)
    if os.waitpid(fork(folder, 3, background=True), 0)[1] != 0:
        raise SystemExit("the last run failed")
    print(json.dumps(check(folder)))


if __name__ == "__main__":
    main()
