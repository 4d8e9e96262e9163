"""Optimizers: steps on two parameters, by classes and by `snt.functional`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.sonnet.table import values

PARAMS = {"a": np.asarray([1.0, 2.0], np.float32), "b": values(2, 3)}
GRADS = [
    {"a": np.asarray(a, np.float32), "b": values(2, 3, seed=i)}
    for i, a in enumerate(([0.1, -0.2], [0.1, -0.2], [0.3, 0.1], [0.0, -5.0]))
]


@dataclass(frozen=True)
class Optimization:
    optimizer: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        shown = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs.items())]
        return f"{self.optimizer}({', '.join(shown)})"


OPTIMIZATIONS = [
    Optimization("SGD", (0.1,)),
    Optimization("SGD", (), {"learning_rate": 1.0, "name": "descent"}),
    Optimization("Momentum", (0.1, 0.9)),
    Optimization("Momentum", (0.1, 0.9, True)),
    Optimization("Momentum", (), {"learning_rate": 0.1, "momentum": 0.5, "use_nesterov": True}),
    Optimization("Momentum", (0.1, 0.0)),
    Optimization("Adam"),
    Optimization("Adam", (0.1,)),
    Optimization("Adam", (0.1, 0.5, 0.9, 1e-3)),
    Optimization("Adam", (), {"learning_rate": 0.1, "beta1": 0.0, "beta2": 0.99, "epsilon": 1.0}),
    Optimization("RMSProp", (0.1,)),
    Optimization("RMSProp", (0.1, 0.5)),
    Optimization("RMSProp", (0.1, 0.9, 0.5)),
    Optimization("RMSProp", (0.1, 0.9, 0.0, 1e-3)),
    Optimization("RMSProp", (0.1, 0.9, 0.0, 1e-10, True)),
    Optimization("RMSProp", (0.1,), {"momentum": 0.9, "centered": True, "epsilon": 1e-2}),
]
