"""What a case is: a module of Sonnet's API, and calls of it, written once for both libraries.

`build(snt, lib)` gets either library as `snt`, and its arrays as `lib` (`tests/sonnet/facade.py` for
`jax.numpy`, `tests/sonnet/record.py` for TensorFlow). Inputs and weights are made from names and shapes,
so a recording has only what Sonnet answered.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Build = Callable[[Any, Any], Any]


def generator(*key: Any) -> np.random.RandomState:
    """The same numbers for the same key with every version of numpy, as `RandomState` is frozen."""
    return np.random.RandomState(zlib.crc32(repr(key).encode()))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return generator("values", shape, seed).standard_normal(shape).astype(np.float32)


def integers(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    return generator("integers", shape, seed).randint(0, high, shape).astype(np.int32)


class Call:
    """A call of a method, or of `run(lib, module, *args, **kwargs)`; arrays in args become inputs."""

    def __init__(self, *args: Any, method: str = "__call__", run: Any = None, **kwargs: Any):
        self.args, self.kwargs, self.method, self.run = args, kwargs, method, run

    def __call__(self, lib: Any, module: Any, args: Any, kwargs: Any) -> Any:
        if self.run is not None:
            return self.run(lib, module, *args, **kwargs)
        if self.method == "__call__":
            return module(*args, **kwargs)
        return getattr(module, self.method)(*args, **kwargs)


@dataclass(frozen=True)
class Case:
    """A module and calls of it. `tolerance` is relative to the largest expected value."""

    name: str
    build: Build
    calls: tuple[Call, ...] = field(default_factory=tuple)
    tolerance: float = 1e-5
    seeded: bool = True
    """False if its variables keep the values that they are created with."""


@dataclass(frozen=True)
class Raises:
    """What Sonnet refuses, in `build` or in one of the calls."""

    name: str
    build: Build
    calls: tuple[Call, ...] = field(default_factory=tuple)


def map_arrays(f: Callable[[np.ndarray], Any], tree: Any) -> Any:
    """Applies `f` to each array in lists, tuples and dicts, in one order; leaves the rest."""
    if isinstance(tree, np.ndarray):
        return f(tree)
    if isinstance(tree, dict):
        return {k: map_arrays(f, v) for k, v in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(map_arrays(f, v) for v in tree)
    return tree


def is_float(array: Any) -> bool:
    return np.dtype(array.dtype).kind == "f" or str(array.dtype) == "bfloat16"


def seeded_value(case: str, path: str, created: np.ndarray, random: bool, trainable: bool) -> Any:
    """The value that a variable has in a run: as created, but not what is random or all equal."""
    if not is_float(created) or not (random or trainable):
        return created
    noise = generator("weights", case, path).standard_normal(created.shape)
    return (0.4 * noise if random else created + 0.3 * noise).astype(created.dtype)


def output_weights(case: str, call: int, index: int, shape: Any) -> np.ndarray:
    """What the outputs are multiplied with before they are summed, to have gradients of a scalar."""
    sizes = tuple(map(int, shape))
    some = generator("outputs", case, call, index, sizes)
    return some.standard_normal(sizes).astype(np.float32)


MOST = 1200
"""Arrays of more elements are recorded as a digest."""


def digest(array: np.ndarray) -> np.ndarray:
    """A large array as 64 of its elements and 16 random projections, of its own scale."""
    array = np.asarray(array, np.float32)
    if array.size <= MOST:
        return array
    flat, some = array.ravel(), generator("digest", array.shape)
    chosen = flat[some.randint(0, flat.size, 64)]
    projections = some.choice([-1.0, 1.0], (16, flat.size)) @ flat.astype(np.float64)
    return np.concatenate([chosen, projections / flat.size**0.5]).astype(np.float32)


def outline(tree: Any, leaf: Callable[[Any], str]) -> str:
    """A nested structure in words, such as `LSTMState(hidden=float32[2, 3], cell=...)`."""
    if tree is None:
        return "None"
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        inner = [f"{k}={outline(v, leaf)}" for k, v in zip(tree._fields, tree, strict=True)]
        return f"{type(tree).__name__}({', '.join(inner)})"
    if isinstance(tree, dict):
        inner = [f"{k}: {outline(tree[k], leaf)}" for k in sorted(tree)]
        return "{" + ", ".join(inner) + "}"
    if isinstance(tree, (list, tuple)):
        inner = [outline(v, leaf) for v in tree]
        return ("[{}]" if isinstance(tree, list) else "({})").format(", ".join(inner))
    return leaf(tree)


def leaves(tree: Any) -> list[Any]:
    """The leaves in the order of `outline`. None is not a leaf."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        tree = [tree[k] for k in sorted(tree)]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


NARROW = {"int64": "int32", "uint64": "uint32", "float64": "float32"}
"""The types of JAX without `jax_enable_x64`."""


def type_name(dtype: Any) -> str:
    name = getattr(dtype, "name", None) or np.dtype(dtype).name
    return NARROW.get(name, name)
