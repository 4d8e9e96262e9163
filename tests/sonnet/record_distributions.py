"""Records how the values are distributed that Sonnet's layers and initializers make."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.sonnet.cases_distributions import INITIALIZERS, LAYERS

REPEATS = 8
QUANTILES = np.linspace(0.01, 0.99, 25)


def described(samples: list[np.ndarray]) -> dict[str, Any]:
    """What all samples of one variable are like, together."""
    every = np.concatenate([s.ravel() for s in samples]).astype(np.float64)
    result = {"shape": list(samples[0].shape), "min": every.min(), "max": every.max()}
    if len(np.unique(every)) > 2:
        result |= {
            "samples": every.size,
            "mean": every.mean(),
            "std": every.std(),
            "quantiles": [round(float(q), 7) for q in np.quantile(every, QUANTILES)],
        }
    return result


def distributions(snt: Any, tf: Any) -> dict[str, Any]:
    lib = SimpleNamespace(ones=tf.ones, float32=tf.float32)
    records: dict[str, Any] = {"layers": {}, "initializers": {}}
    for name, make in LAYERS.items():
        runs = []
        for seed in range(REPEATS):
            tf.random.set_seed(seed)
            variables: list[Any] = []

            def creator(next_creator: Any, variables: Any = variables, **kwargs: Any) -> Any:
                variables.append(next_creator(**kwargs))
                # Statistics change when a layer is called.
                variables[-1].created = variables[-1].numpy()
                return variables[-1]

            with tf.variable_creator_scope(creator):
                make(snt, lib)
            runs.append(variables)
        records["layers"][name] = [
            [group[0].name.removesuffix(":0"), described([v.created for v in group])]
            for group in zip(*runs, strict=True)
        ]
    for name, (make_one, shape) in INITIALIZERS.items():
        samples = []
        for seed in range(REPEATS):
            tf.random.set_seed(seed)
            samples.append(make_one(snt.initializers)(shape, tf.float32).numpy())
        records["initializers"][name] = described(samples)
    return records
