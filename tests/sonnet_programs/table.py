"""What a program is: one source, as users of Sonnet write it, which runs in both libraries.

It uses `lib.snt` and few operations of arrays, such as `lib.matmul`, from `facade.py` or `record.py`.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEPS = 5
Batch = dict[str, Any]


class Phase(NamedTuple):
    """A loss, and what it trains: `optimizers[name]` trains `parts[part]`."""

    name: str
    part: str | None


class Program:
    """A training program.

    A subclass makes its modules in `build` and its loss in `loss`. `step` is in Sonnet's manner. What
    it does is also declared (`phases`, `copies`, ...), so that the tests can run it as pure functions.
    """

    phases: tuple[Phase, ...] = (Phase("loss", "net"),)
    # (kind, options) of the optimizer of each phase that trains.
    optimizers: dict[str, tuple[str, dict[str, Any]]] = {}
    # (source, target, tau, period): every `period` steps `target += tau * (source - target)`.
    copies: tuple[tuple[str, str, float, int], ...] = ()
    clip: float | None = None

    def __init__(self, lib: Any):
        self.lib = lib
        self.parts: dict[str, Any] = {}
        self.build(lib, lib.snt)

    @property
    def name(self) -> str:
        return type(self).__name__

    def build(self, lib: Any, snt: Any) -> None:
        """Makes `self.parts`."""
        raise AssertionError

    def loss(self, phase: str, batch: Batch) -> Any:
        """Returns the loss of a phase."""
        raise AssertionError

    def batch(self, rng: np.random.Generator) -> Batch:
        """Returns one batch of arrays of numpy."""
        raise AssertionError

    def rate(self, step: int) -> float:
        """The factor of the learning rate in a step."""
        del step
        return 1.0

    def batches(self) -> list[Batch]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [self.batch(rng) for _ in range(STEPS)]

    def create(self, batch: Batch) -> None:
        """Creates all variables of the modules."""
        for phase in self.phases:
            self.loss(phase.name, batch)

    def make_optimizers(self) -> None:
        """Makes the optimizers; their rate is a variable that the program assigns."""
        self.rates = {
            name: self.lib.Variable(options["learning_rate"], trainable=False, name="rate")
            for name, (_, options) in self.optimizers.items()
        }
        self.made = {
            name: getattr(self.lib.snt.optimizers, kind)(
                **{**options, "learning_rate": self.rates[name]}
            )
            for name, (kind, options) in self.optimizers.items()
        }

    def step(self, batch: Batch) -> list[Any]:
        """One step of training, in Sonnet's manner; returns the losses."""
        losses = []
        for phase in self.phases:
            if phase.part is None:
                losses.append(self.loss(phase.name, batch))
                continue
            variables = trained(self.parts[phase.part])
            loss, grads = self.lib.value_and_grad(
                lambda phase=phase: self.loss(phase.name, batch), variables
            )
            if self.clip is not None:
                grads = self.lib.clip_by_global_norm(grads, self.clip)
            self.made[phase.name].apply(grads, variables)
            losses.append(loss)
        return losses

    def before(self, step: int) -> None:
        """Sets the learning rates."""
        for name, (_, options) in self.optimizers.items():
            self.rates[name].assign(options["learning_rate"] * self.rate(step))

    def after(self, step: int) -> None:
        """Updates the targets."""
        for source, target, tau, period in self.copies:
            if step % period == 0:
                pairs = zip(self.parts[target].variables, self.parts[source].variables, strict=True)
                for to, of in pairs:
                    to.assign(of if tau == 1.0 else (1.0 - tau) * to + tau * of)


def modules(part: Any) -> list[Any]:
    return list(part) if isinstance(part, (list, tuple)) else [part]


def variables(part: Any) -> list[Any]:
    return [variable for module in modules(part) for variable in module.variables]


def trained(part: Any) -> list[Any]:
    return [variable for module in modules(part) for variable in module.trainable_variables]


def start_value(name: str, index: int, shape: Any, dtype: str, trainable: bool) -> np.ndarray:
    """The value with which a variable starts, in both libraries."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), index])
    if np.issubdtype(np.dtype(dtype), np.integer):
        return np.zeros(shape, dtype)
    if not trainable:
        return rng.uniform(0.5, 1.0, shape).astype(dtype)
    fan_in = max(int(np.prod(shape[:-1])), 1) if len(shape) > 1 else 4
    return (rng.normal(size=shape) / np.sqrt(fan_in)).astype(dtype)


def set_start(program: Program, dtype_of: Callable[[Any], str]) -> None:
    """Assigns the start values to all variables."""
    for part, held in program.parts.items():
        for index, variable in enumerate(variables(held)):
            shape = tuple(int(size) for size in variable.shape)
            name = f"{program.name}/{part}"
            value = start_value(name, index, shape, dtype_of(variable), bool(variable.trainable))
            variable.assign(value)
    for source, target, _, _ in program.copies:
        for to, of in zip(
            program.parts[target].variables, program.parts[source].variables, strict=True
        ):
            to.assign(of)
