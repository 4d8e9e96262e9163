"""Messages of converting weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from tests.messages.helpers import X, key

convert = ps.convert
LINEAR = ps.transform(lambda x: ps.Linear(2)(x))
TWO = ps.transform(lambda x: ps.Linear(3)(ps.Linear(3)(x)))
WEIGHTS = {"fc.weight": np.ones([2, 3], np.float32), "fc.bias": np.ones(2, np.float32)}


def converted(f: Any = LINEAR, weights: Any = WEIGHTS, check: Any = False, **kwargs: Any) -> Any:
    return convert.from_torch(weights, f, key(), X, check=check, **kwargs)


def several(*names: str) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for i, name in enumerate(names):
        arrays[f"{name}.weight"] = np.full([3, 3], i, np.float32)
        arrays[f"{name}.bias"] = np.zeros(3, np.float32)
    return arrays


def with_a_tree(x: Any) -> Any:
    ps.set_state("tree", {"a": x, "b": x})


def stacked(x: Any) -> Any:
    return ps.layer_stack(2)(lambda x: ps.Linear(3)(x))(x)


def lstm(x: Any) -> Any:
    core = ps.LSTM(2)
    return core(x, core.initial_state(2))[0]


def without_bias() -> None:
    like = {"weight_ih": np.ones([8, 3], np.float32), "weight_hh": np.ones([8, 2], np.float32)}
    f = ps.transform(lstm)
    convert.to_torch(f.init(key(), X), f, key(), X, like=like)


def gru(x: Any) -> Any:
    core = ps.GRU(2)
    return core(x, core.initial_state(2))[0]


def norm(x: Any) -> Any:
    return ps.LayerNorm(-1, True, True)(ps.LayerNorm(-1, True, True)(x))


NORM = {"n.weight": np.ones(6, np.float32), "n.bias": np.ones(6, np.float32)}

CASES: dict[str, Callable[[], Any]] = {
    "not a transform": lambda: converted(lambda x: x),  # pyright: ignore
    "a variable that is a tree": lambda: converted(ps.transform_with_state(with_a_tree)),
    "stacked layers": lambda: converted(ps.transform(stacked)),
    "nothing verified": lambda: converted(check=None),
    "other outputs": lambda: converted(check=np.ones([2, 2])),
    "outputs of another shape": lambda: converted(check=np.ones([2])),
    "check with shapes only": lambda: convert.from_torch(
        WEIGHTS, LINEAR, key(), jax.ShapeDtypeStruct([2, 3], jnp.float32), check=np.ones([2, 2])
    ),
    "variables of another model": lambda: convert.to_torch(
        {"linear": {"w": X, "b": X[0]}}, LINEAR, key(), X, like=WEIGHTS
    ),
    "no variables": lambda: convert.to_torch(3, LINEAR, key(), X, like=WEIGHTS),
    "no match": lambda: converted(weights={"fc.weight": np.ones([5, 3]), "scale": np.ones(4)}),
    "a transposed weight": lambda: converted(
        weights={"fc.weight": np.ones([3, 2]), "fc.bias": np.ones(2)}
    ),
    "no unique order": lambda: converted(
        ps.transform(lambda x: ps.Linear(5)(ps.Linear(3)(ps.Linear(3)(x)))),
        {"c.weight": np.ones([5, 3]), "c.bias": np.ones(5), **several("a", "b")},
    ),
    "names of nothing": lambda: converted(names={"fd": "linear"}),
    "names to nothing": lambda: converted(names={"fc": "linaer"}),
    "names of another shape": lambda: converted(weights=several("fc"), names={"fc": "linear"}),
    "names with a part that is missing": lambda: converted(
        weights=several("query"), names={("query", "key"): "linear"}
    ),
    "names that are not a dict": lambda: converted(names=["fc"]),
    "names to a number": lambda: converted(names={"fc": 3}),
    "names with two tuples": lambda: converted(names={("a", "b"): ("c", "d")}),
    "names with fewer wildcards": lambda: converted(names={"*": "linear"}),
    "norms that are joined": lambda: converted(
        ps.transform(norm), NORM, names={"n": ("layer_norm", "layer_norm_1")}
    ),
    "a second name with other values": lambda: converted(
        ps.transform(lambda x: ps.Linear(3)(x)),
        several("a", "b"),
        names={"a": "linear", "b": "linear"},
    ),
    "transposed by number": lambda: converted(transposed=[3]),
    "transposed nothing": lambda: converted(transposed="*.c_attn"),
    "a GRU of torch": lambda: converted(ps.transform(gru)),
    "no place for a bias": without_bias,
    "variables of Sonnet without names": lambda: convert.from_sonnet(
        (X,), LINEAR, key(), X, check=False
    ),
}
