"""Runs the cases in `purestate.sonnet`."""

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt
from tests.sonnet.cases import all_cases
from tests.sonnet.store import FIELDS, recording
from tests.sonnet.table import (
    Case,
    is_float,
    leaves,
    map_arrays,
    outline,
    output_weights,
    seeded_value,
    type_name,
)

lib = SimpleNamespace(
    snt=snt,
    Variable=snt.Variable,
    value=lambda variable: variable.value(),
    identity=jnp.asarray,
    relu=jax.nn.relu,
    tanh=jnp.tanh,
    sigmoid=jax.nn.sigmoid,
    softplus=jax.nn.softplus,
    exp=jnp.exp,
    square=jnp.square,
    matmul=jnp.matmul,
    mean=jnp.mean,
    sum=jnp.sum,
    concat=jnp.concatenate,
    stack=jnp.stack,
    reshape=jnp.reshape,
    transpose=jnp.transpose,
    zeros=jnp.zeros,
    ones=jnp.ones,
    constant=jnp.asarray,
    stop_gradient=jax.lax.stop_gradient,
    cast=lambda x, dtype: x.astype(dtype),
    shape=lambda x: list(x.shape),
    float16=jnp.float16,
    float32=jnp.float32,
    bfloat16=jnp.bfloat16,
    int32=jnp.int32,
    bool=jnp.bool,
)

KEY = jax.random.key(0)
Tree = dict[str, dict[str, Any]]


@cache
def cases_by_id() -> dict[str, tuple[str, Case]]:
    return {f"{group}: {case.name}": (group, case) for group, case in all_cases()}


def arrays_of(tree: Any) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    map_arrays(lambda array: found.append(array), tree)
    return found


def filled(tree: Any, arrays: Any) -> Any:
    """`tree` with these arrays in place of its own."""
    rest: Iterator[Any] = iter(arrays)
    return map_arrays(lambda _: next(rest), tree)


def is_array(x: Any) -> bool:
    return isinstance(x, (jax.Array, np.ndarray, np.generic, int, float, bool))


def leaf_outline(x: Any) -> str:
    if isinstance(x, str):
        return repr(x)
    if not is_array(x):
        return type(x).__name__
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return f"{type_name(dtype)}{list(np.shape(x))}"


def split(path: str) -> tuple[str, str]:
    module, _, name = path.rpartition("/")
    return module, name


class Recorded:
    """What Sonnet said of a case, as params and state."""

    def __init__(self, group: str, case: Case):
        self.case, self._file = case, recording(group)
        self.record = self._file.records[case.name]
        rows = self.record["variables"]
        self.variables: list[Any] = [dict(zip(FIELDS, row, strict=True)) for row in rows]

    def array(self, place: Any) -> np.ndarray:
        return self._file.get(place)

    def created(self, variable: Any) -> np.ndarray:
        dtype = jnp.dtype(variable["dtype"])
        if variable["random"]:
            return np.zeros(variable["shape"], dtype)
        return self.array(variable["created"]).astype(dtype)

    def value(self, variable: Any, number: int, i: int) -> np.ndarray:
        """The value of the `i`-th variable before this call."""
        for call in reversed(self.record["calls"][:number]):
            if str(i) in call["changed"]:
                return self.array(call["changed"][str(i)]).astype(variable["dtype"])
        created = self.created(variable)
        if not self.case.seeded:
            return created
        return seeded_value(
            self.case.name,
            variable["path"],
            created,
            variable["random"],
            variable["trainable"],
        )

    def trees(self, number: int) -> tuple[Tree, Tree]:
        """Params and state before this call."""
        params: Tree = {}
        state: Tree = {}
        for i, variable in enumerate(self.variables):
            module, name = split(variable["path"])
            tree = params if variable["trainable"] else state
            tree.setdefault(module, {})[name] = jnp.asarray(self.value(variable, number, i))
        return params, state

    def trainable(self) -> list[tuple[str, str]]:
        """Where the gradients of a call belong."""
        floats = ("float32", "float16", "bfloat16")
        return [split(v["path"]) for v in self.variables if v["trainable"] and v["dtype"] in floats]


class Program:
    """A case as pure functions; `outlines` are those of the outputs that were last seen."""

    def __init__(self, case: Case, rng_mode: str | None = None):
        self.case = case
        self.outlines: list[str] = []
        options = {} if rng_mode is None else {"rng_mode": rng_mode}
        self.init, self.apply = ps.transform_with_state(self._run, **options)

    def _call(self, module: Any, number: int, arrays: Any) -> list[Any]:
        call = self.case.calls[number]
        args, kwargs = filled((call.args, call.kwargs), arrays)
        output = call(lib, module, args, kwargs)
        self.outlines.append(outline(output, leaf_outline))
        return [jnp.asarray(x) for x in leaves(output) if is_array(x)]

    def _run(self, arrays: list[Any], number: int | None = None, look: Any = None) -> list[Any]:
        """One call, or all of them in one program; then `look(module)`."""
        self.outlines.clear()
        module = self.case.build(snt, lib)
        numbers = range(len(self.case.calls)) if number is None else [number]
        outputs = [self._call(module, i, arrays[i]) for i in numbers]
        if look is not None:
            look(module)
        return outputs

    def arrays(self) -> list[list[jax.Array]]:
        calls = self.case.calls
        return [[jnp.asarray(a) for a in arrays_of((c.args, c.kwargs))] for c in calls]


def weighted_sum(case: Case, number: int, outputs: Any) -> jax.Array:
    """The scalar that was differentiated in Sonnet."""
    total = jnp.zeros(())
    for i, x in enumerate(outputs):
        if is_float(x):
            total += (x.astype(jnp.float32) * output_weights(case.name, number, i, x.shape)).sum()
    return total


def with_gradients(program: Program, number: int, is_compiled: bool) -> Any:
    """A function of params, state and arrays: outputs, state, gradients of params and of inputs."""

    def scalar(params: Tree, floats: list[Any], state: Tree, arrays: list[Any]) -> Any:
        rest = iter(floats)
        arrays = [next(rest) if is_float(a) else a for a in arrays]
        every = [arrays if i == number else [] for i in range(len(program.case.calls))]
        outputs, state = program.apply(params, state, KEY, every, number)
        return weighted_sum(program.case, number, outputs[0]), (outputs[0], state)

    def run(params: Tree, state: Tree, arrays: list[Any]) -> Any:
        floats = [a for a in arrays if is_float(a)]
        return jax.grad(scalar, (0, 1), has_aux=True)(params, floats, state, arrays)

    return jax.jit(run) if is_compiled else run
