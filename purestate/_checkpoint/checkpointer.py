"""`Checkpointer`."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax

from purestate._checkpoint.atomic import as_path
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from purestate._checkpoint.load import Only, load_tree
from purestate._checkpoint.orbax_steps import OrbaxSteps
from purestate._checkpoint.save import encode_tree
from purestate._core.errors import kind_of


class Checkpointer:
    """Saves whole training states in a folder, step by step, over orbax.

    >>> import tempfile, jax, jax.numpy as jnp, optax, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> train = ps.TrainState.create(f, optax.adam(0.1), jax.random.key(0), jnp.ones([1, 3]))
    >>> with ps.checkpoint.Checkpointer(tempfile.mkdtemp(), keep=2, best="loss") as checkpoints:
    ...     for step, loss in enumerate([0.5, 0.2, 0.3, 0.4]):
    ...         _ = checkpoints.save(step, train, {"loss": loss})
    ...     train = checkpoints.restore(into=train)
    ...     print(checkpoints.all_steps(), checkpoints.best_step())
    [1, 2, 3] 1

    A step is in the folder when all of it is on the disk. If the program is killed before, the
    older steps stay. Each array has a checksum, which `restore` compares.

    Args:
      folder: a local folder. It is made if it does not exist.
      keep: how many of the newest steps to keep; None for all.
      best: the name of a metric. The best steps by it are kept too.
      mode: whether the smallest or the largest value of the metric is the best.
      keep_best: how many of the best steps to keep.
      every: `save` skips a step that is not a multiple of it.
      background: whether `save` returns as soon as the arrays are copied. The rest is done in a
        thread. If it fails, the next call raises the error.

    Raises:
      CheckpointError: an argument is invalid.
      CheckpointFileError: the folder cannot be made.
      MissingPackageError: the package orbax-checkpoint is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int | None = 3,
        best: str | None = None,
        mode: Literal["min", "max"] = "min",
        keep_best: int = 1,
        every: int = 1,
        background: bool = True,
    ):
        if "://" in os.fspath(folder):
            raise CheckpointError(
                f"`folder` must be a local folder, but is {os.fspath(folder)!r}. For a bucket, use"
                " orbax.checkpoint.CheckpointManager."
            )
        given: dict[str, Any] = {"keep": keep, "keep_best": keep_best, "every": every}
        for name, value in given.items():
            if not (_is_int(value) and value > 0) and (name, value) != ("keep", None):
                raise CheckpointError(f"`{name}` must be a positive integer, but is {value!r}.")
        if mode not in ("min", "max"):
            raise CheckpointError(f"`mode` must be 'min' or 'max', but is {mode!r}.")
        self._keep, self._every = keep, every
        self._best, self._sign, self._keep_best = best, 1 if mode == "min" else -1, keep_best
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._steps = OrbaxSteps(as_path(folder), self._kept, background)

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Checkpointer({str(self._steps.folder)!r})"

    def save(
        self,
        step: int,
        tree: Any,
        metrics: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> bool:
        """Saves a step, unless `every` says to skip it.

        Args:
          step: its number, larger than that of any step in the folder.
          tree: a `TrainState`, or any other tree of arrays and numbers, as for `save_safetensors`.
            When this returns, its arrays may be donated.
          metrics: `{name: number}`. With `best=...`, the steps without that metric are kept only
            while they are new.
          force: whether to save a step that `every` would skip, such as the last one.

        Returns:
          Whether the step was saved.

        Raises:
          CheckpointError: a leaf or metric cannot be saved, or the folder has a later step.
          CheckpointFileError: this step or the one before cannot be written.
        """
        if not (_is_int(step) and step >= 0):
            raise CheckpointError(
                "`Checkpointer.save(step, tree)` takes the number of a step, such as"
                f" int(train.step), but got {kind_of(step)}."
            )
        if step % self._every and not force:
            return False
        numbers = _numbers(metrics)
        last = self.latest_step()
        if last is not None and last >= step:
            raise CheckpointError(
                f"Step {step} cannot be saved in {str(self._steps.folder)!r}, which has step"
                f" {last}. To go back, first delete what comes later:"
                f" `checkpoints.delete_after({step - 1})`. To start again, use another folder."
            )
        encoded = encode_tree(tree)
        self._metrics[step] = numbers
        self._steps.write(step, encoded, numbers)
        return True

    def restore(
        self,
        into: Any = None,
        step: int | None = None,
        *,
        strict: bool = True,
        rename: Mapping[str, str] | None = None,
        only: Only = None,
        resize: Only = None,
        shardings: Any = None,
    ) -> Any:
        """Loads a step.

        Args:
          into: a tree of the same structure, of arrays or of `jax.ShapeDtypeStruct`, such as the
            train state before the first step. Names, shapes and dtypes are compared with it.
            Without it, the result is nested dicts.
          step: its number; None for the latest.
          strict: see `load_safetensors`, as for the next four.
          rename: patterns from names in the folder to names in `into`.
          only: the variables to load, such as `"params/**"`.
          resize: the variables that may have another shape in the folder.
          shardings: a sharding, or a tree of them. Without it, each array goes to the devices of
            the one in `into`, if that was put on devices explicitly or is a
            `jax.ShapeDtypeStruct` with a sharding.

        Returns:
          The tree; with `strict=False`, the tree and a `LoadReport`.

        Raises:
          CheckpointMismatchError: the step and `into` differ.
          CheckpointFileError: the step is damaged.
          CheckpointNotFoundError: the folder lacks this step.
          CheckpointError: a pattern or a sharding is for nothing, or does not fit.
        """
        step = self._existing(step)
        shardings = _shardings_of(into) if shardings is None else shardings
        try:
            file = self._steps.open(step)
            return load_tree(
                file, "Checkpointer.restore", into, strict, rename, only, resize, shardings
            )
        except CheckpointFileError as error:
            raise self._with_advice(error, step) from error

    def metrics(self, step: int | None = None) -> dict[str, float]:
        """Returns the metrics of a step.

        Args:
          step: its number; None for the latest.

        Returns:
          `{name: number}`.

        Raises:
          CheckpointFileError: the step is damaged.
          CheckpointNotFoundError: the folder lacks this step.
        """
        step = self._existing(step)
        try:
            return self._steps.open(step).metrics
        except CheckpointFileError as error:
            raise self._with_advice(error, step) from error

    def all_steps(self) -> list[int]:
        """Returns all steps on the disk, after waiting for the one being saved.

        Returns:
          Their numbers, the smallest first.
        """
        return self._steps.all()

    def latest_step(self) -> int | None:
        """Returns the newest step on the disk, after waiting for the one being saved.

        Returns:
          Its number; None if the folder has no step.
        """
        return max(self._steps.all(), default=None)

    def best_step(self) -> int:
        """Returns the step with the best metric.

        Returns:
          Its number. Of equal ones it is the newest.

        Raises:
          CheckpointError: the `Checkpointer` was made without `best`.
          CheckpointNotFoundError: no step has the metric.
          CheckpointFileError: the metrics of a step are damaged.
        """
        if self._best is None:
            raise CheckpointError(
                "`Checkpointer.best_step()` needs the name of a metric: `Checkpointer(folder,"
                " best='loss')`."
            )
        scores = {step: self._score(self.metrics(step)) for step in self._steps.all()}
        best = self._best_of(scores)
        if not best:
            raise CheckpointNotFoundError(
                f"No step in {str(self._steps.folder)!r} has the metric {self._best!r}. Save it:"
                f" `checkpoints.save(step, train, {{{self._best!r}: ...}})`."
            )
        return best[0]

    def delete_after(self, step: int) -> None:
        """Deletes all steps after this one, to go on from it.

        Args:
          step: the last step to keep.
        """
        for later in self._steps.all():
            if later > step:
                self._steps.delete(later)

    def wait(self) -> None:
        """Waits until the step being saved is on the disk.

        Raises:
          CheckpointFileError: it cannot be written.
        """
        self._steps.wait()

    def close(self) -> None:
        """Waits for the step being saved, and ends all threads; `with` does this too.

        Raises:
          CheckpointFileError: the step cannot be written.
        """
        self._steps.close()

    # Which step

    def _existing(self, step: int | None) -> int:
        steps = self._steps.all()
        if step is None and steps:
            return steps[-1]
        if step is None or step not in steps:
            wanted = "no step" if step is None else f"no step {step!r}"
            there = f" It has {', '.join(map(str, steps))}." if steps else ""
            raise CheckpointNotFoundError(
                f"The folder {str(self._steps.folder)!r} has {wanted}.{there} Ask with"
                " `checkpoints.latest_step()`, which is None in a new folder."
            )
        return step

    def _with_advice(self, error: CheckpointFileError, step: int) -> CheckpointFileError:
        older = [other for other in self._steps.all() if other < step]
        advice = (
            f"Load an older one: `checkpoints.restore(into, step={older[-1]})`. To go on from it,"
            f" delete the damaged one: `checkpoints.delete_after({older[-1]})`."
            if older
            else "The folder has no older one."
        )
        return CheckpointFileError(f"{error} {advice}")

    # Which steps to keep

    def _kept(self, steps: Sequence[int]) -> set[int]:
        if self._keep is None:
            return set(steps)
        kept = set(sorted(steps)[-self._keep :])
        if self._best is None:
            return kept
        scores: dict[int, float | None] = {}
        for step in steps:
            try:
                if step not in self._metrics:
                    self._metrics[step] = self._steps.open(step).metrics
                scores[step] = self._score(self._metrics[step])
            except CheckpointError:
                kept.add(step)  # it may be the best one, so only the user may delete it
        return kept.union(self._best_of(scores)[: self._keep_best])

    def _score(self, metrics: Mapping[str, float]) -> float | None:
        """Returns a number that is smaller for better steps; None without one, or for NaN."""
        value = metrics.get(self._best or "", math.nan)
        return None if math.isnan(value) else self._sign * value

    def _best_of(self, scores: Mapping[int, float | None]) -> list[int]:
        ranked = [(score, -step) for step, score in scores.items() if score is not None]
        return [-step for _, step in sorted(ranked)]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(metrics: Any) -> dict[str, float]:
    wrong, name = metrics, ""
    try:
        numbers: dict[str, float] = {}
        for name, wrong in dict(metrics or {}).items():
            numbers[str(name)] = float(wrong)
        return numbers
    except (TypeError, ValueError):
        raise CheckpointError(
            "`metrics` must be a dict of numbers, such as {'loss': 0.1}, but is"
            f" {kind_of(wrong)}{f' at {name!r}' if name else ''}."
        ) from None


def _shardings_of(into: Any) -> Any:
    """Returns the shardings that a model asks for; None for an array that JAX placed."""

    def of(leaf: Any) -> Any:
        placed = getattr(leaf, "committed", not isinstance(leaf, jax.Array))
        return getattr(leaf, "sharding", None) if placed else None

    return jax.tree.map(of, into)
