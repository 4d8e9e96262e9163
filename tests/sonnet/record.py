"""Records what Sonnet 2 itself does: `python -m tests.sonnet.record [GROUP ...]`.

It needs dm-sonnet 2.0.2 and TensorFlow, which the suite does not. What it writes is in `recordings/`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# With oneDNN transposed convolutions have rates. Without it a wrong shape is an error, and no crash.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0" if "errors" in sys.argv[1:] else "1"

import numpy as np
import sonnet as snt
import tensorflow as tf
from sonnet.src import recurrent
from tensorflow.python.framework import ops

from tests.sonnet.cases import ERRORS, GROUPS
from tests.sonnet.record_api import api
from tests.sonnet.record_distributions import distributions
from tests.sonnet.record_optimizers import record_optimizers
from tests.sonnet.store import FIELDS, Writer
from tests.sonnet.table import (
    Case,
    digest,
    is_float,
    leaves,
    map_arrays,
    outline,
    output_weights,
    seeded_value,
    type_name,
)

# On a CPU Sonnet has a kernel for this, whose gradients are wrong: those of `w_i` differ by 2.42 from
# the ones of `static_unroll` over `LSTM`, where the largest is 2.46. The outputs are equal.
recurrent._specialized_unrolled_lstm = recurrent._fallback_unrolled_lstm

lib = SimpleNamespace(
    snt=snt,
    Variable=tf.Variable,
    value=lambda variable: variable.value(),
    identity=tf.identity,
    relu=tf.nn.relu,
    tanh=tf.tanh,
    sigmoid=tf.sigmoid,
    softplus=tf.nn.softplus,
    exp=tf.exp,
    square=tf.square,
    matmul=tf.matmul,
    mean=tf.reduce_mean,
    sum=tf.reduce_sum,
    concat=tf.concat,
    stack=tf.stack,
    reshape=tf.reshape,
    transpose=tf.transpose,
    zeros=tf.zeros,
    ones=tf.ones,
    constant=tf.constant,
    stop_gradient=tf.stop_gradient,
    cast=tf.cast,
    shape=lambda x: [int(n) for n in x.shape],
    float16=tf.float16,
    float32=tf.float32,
    bfloat16=tf.bfloat16,
    int32=tf.int32,
    bool=tf.bool,
)


class Watch:
    """Where modules and variables were made: the path that each has if equal names are numbered."""

    def __init__(self) -> None:
        self.variables: list[tuple[str, tf.Variable]] = []
        self.created: list[np.ndarray | None] = []
        self.modules: list[tuple[str, Any]] = []
        self._stack: list[str] = [""]
        self._paths: dict[int, str] = {}
        self._taken: dict[str, int] = {}

    def _numbered(self, name: str) -> str:
        path = f"{self._stack[-1]}/{name}".lstrip("/")
        number = self._taken.get(path, 0)
        self._taken[path] = number + 1
        return f"{path}_{number}" if number else path

    def enter(self, scope: Any) -> None:
        plain = f"{self._stack[-1]}/{scope._name}".strip("/")
        self._stack.append(self._paths.get(id(scope), plain))

    def leave(self) -> None:
        self._stack.pop()

    def module(self, path: str, module: Any) -> None:
        self._paths[id(module._name_scope)] = path
        self.modules.append((path, module))

    def variable(self, next_creator: Any, **kwargs: Any) -> tf.Variable:
        path = self._numbered(kwargs.get("name") or "Variable")
        variable = next_creator(**kwargs)
        self.variables.append((path, variable))
        self.created.append(variable.numpy() if tf.executing_eagerly() else None)
        return variable

    @contextmanager
    def on(self) -> Iterator[None]:
        enter, leave, init = (
            ops.name_scope_v2.__enter__,
            ops.name_scope_v2.__exit__,
            tf.Module.__init__,
        )

        def watched_enter(scope: Any) -> Any:
            result = enter(scope)
            self.enter(scope)
            return result

        def watched_leave(scope: Any, *error: Any) -> Any:
            self.leave()
            return leave(scope, *error)

        def watched_init(module: Any, name: Any = None) -> None:
            stack, self._stack = self._stack, [*self._stack]
            init(module, name)
            self._stack = stack
            self.module(self._numbered(module.name), module)

        ops.name_scope_v2.__enter__, ops.name_scope_v2.__exit__ = watched_enter, watched_leave
        tf.Module.__init__ = watched_init
        try:
            with tf.variable_creator_scope(self.variable):
                yield
        finally:
            ops.name_scope_v2.__enter__, ops.name_scope_v2.__exit__ = enter, leave
            tf.Module.__init__ = init


def built(case: Case, seed: int) -> tuple[Any, Watch]:
    """The module after all calls, so that it has its variables."""
    tf.random.set_seed(seed)
    watch = Watch()
    with watch.on():
        module = case.build(snt, lib)
        for call in case.calls:
            call(lib, module, *map_arrays(tf.constant, (call.args, call.kwargs)))
    for i, (_, variable) in enumerate(watch.variables):
        if watch.created[i] is None:
            watch.created[i] = variable.numpy()
    return module, watch


def leaf_outline(x: Any) -> str:
    if isinstance(x, str):
        return repr(x)
    if isinstance(x, tf.TensorShape):
        return f"shape{x.as_list()}"
    if not (tf.is_tensor(x) or isinstance(x, (np.ndarray, np.generic, int, float, bool))):
        return type(x).__name__
    x = tf.convert_to_tensor(x)
    return f"{type_name(x.dtype)}{x.shape.as_list()}"


def is_array(x: Any) -> bool:
    return tf.is_tensor(x) or isinstance(x, (np.ndarray, np.generic, int, float, bool))


def narrow(array: Any) -> np.ndarray:
    """What JAX can have; float16 and bfloat16 are kept as float32."""
    array = tf.convert_to_tensor(array).numpy()
    kind = type_name(array.dtype)
    return array.astype("float32" if kind in ("bfloat16", "float16") else kind)


class CaseRecorder:
    def __init__(self, case: Case, writer: Writer):
        self.case, self.writer = case, writer
        self.module, self.watch = built(case, 0)
        _, other = built(case, 1)
        self.random: list[bool] = [
            not np.array_equal(a, b) for a, b in zip(self.watch.created, other.created, strict=True)
        ]

    def put(self, array: Any) -> Any:
        array = narrow(array)
        return self.writer.put(digest(array) if array.dtype.kind == "f" else array)

    def gradient(self, gradient: Any) -> Any:
        return None if gradient is None else self.put(tf.convert_to_tensor(gradient))

    def variables(self) -> list[Any]:
        records = []
        for (path, variable), created, random in zip(
            self.watch.variables, self.watch.created, self.random, strict=True
        ):
            row = {
                "path": path,
                "sonnet": None if variable.name == f"{path}:0" else variable.name,
                "shape": variable.shape.as_list(),
                "dtype": type_name(variable.dtype),
                "trainable": variable.trainable,
                "random": random,
                "created": None if random else self.put(created),
            }
            records.append([row[name] for name in FIELDS])
        return records

    def seed(self) -> None:
        for (path, variable), created, random in zip(
            self.watch.variables, self.watch.created, self.random, strict=True
        ):
            if self.case.seeded:
                created = seeded_value(self.case.name, path, created, random, variable.trainable)
            variable.assign(created)

    def traversal(self) -> dict[str, Any]:
        """What the module says of itself, as places in the list of variables."""
        if not isinstance(self.module, snt.Module):
            return {}
        place = {id(v): i for i, (_, v) in enumerate(self.watch.variables)}
        path_of = {id(m): p for p, m in self.watch.modules}
        snt.allow_empty_variables(self.module)
        flat = self.module._flatten(predicate=lambda x: isinstance(x, tf.Variable), with_path=True)
        return {
            "order": {
                "variables": [place.get(id(v)) for v in self.module.variables],
                "trainable_variables": [place.get(id(v)) for v in self.module.trainable_variables],
            },
            "attributes": [["/".join(map(str, p)), place.get(id(v))] for p, v in flat],
            "submodules": [[path_of.get(id(m)), type(m).__name__] for m in self.module.submodules],
            "path": path_of[id(self.module)],
            "name": self.module.name,
            "name_scope": self.module.name_scope.name,
        }

    def call(self, number: int) -> dict[str, Any]:
        call, inputs = self.case.calls[number], []

        def constant(array: np.ndarray) -> Any:
            tensor = tf.constant(array)
            if is_float(array):
                inputs.append(tensor)
            return tensor

        args, kwargs = map_arrays(constant, (call.args, call.kwargs))
        before = [v.numpy() for _, v in self.watch.variables]
        trainable = [v for _, v in self.watch.variables if v.trainable and v.dtype.is_floating]
        kept = [v for _, v in self.watch.variables if not v.trainable and v.dtype.is_floating]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(inputs)
            output = call(lib, self.module, args, kwargs)
            arrays = [x for x in leaves(output) if is_array(x)]
            total = [
                tf.reduce_sum(
                    tf.cast(x, tf.float32)
                    * output_weights(self.case.name, number, i, tf.shape(x).numpy())
                )
                for i, x in enumerate(arrays)
                if tf.is_tensor(x) and x.dtype.is_floating
            ]
            scalar = tf.add_n(total) if total else None
            stored = tf.add_n([tf.reduce_sum(tf.cast(v, tf.float32)) for v in kept] or [0.0])
        none = [None] * (len(inputs) + len(trainable))
        gradients = none if scalar is None else tape.gradient(scalar, [*inputs, *trainable])
        through_state = tape.gradient(stored, [*inputs, *trainable]) if kept else none
        after = [v.numpy() for _, v in self.watch.variables]
        return {
            "outline": outline(output, leaf_outline),
            "outputs": [self.put(x) for x in arrays],
            "input_gradients": [self.gradient(g) for g in gradients[: len(inputs)]],
            "gradients": [self.gradient(g) for g in gradients[len(inputs) :]],
            "gradient_through_state": any(g is not None for g in through_state),
            "changed": {
                i: self.put(new)
                for i, (old, new) in enumerate(zip(before, after, strict=True))
                if not np.array_equal(old, new)
            },
        }

    def record(self) -> dict[str, Any]:
        result = {"variables": self.variables(), **self.traversal()}
        self.seed()
        result["calls"] = [self.call(i) for i in range(len(self.case.calls))]
        return result


def record_group(name: str) -> list[str]:
    writer, records, failed = Writer(), {}, []
    for case in GROUPS[name]:
        try:
            records[case.name] = CaseRecorder(case, writer).record()
        except Exception as error:
            failed.append(f"{name}/{case.name}: {type(error).__name__}: {str(error)[:300]}")
    writer.save(name, records)
    print(f"{name}: {len(records)} cases")
    return failed


def builtin_of(error: Exception) -> str:
    """The class that a user would catch without TensorFlow."""
    if isinstance(error, tf.errors.InvalidArgumentError):
        return "ValueError"
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")


def record_errors() -> list[str]:
    records, failed = {}, []
    for case in ERRORS:
        stage = "build"
        try:
            module = case.build(snt, lib)
            for i, call in enumerate(case.calls):
                stage = f"call {i}"
                call(lib, module, *map_arrays(tf.constant, (call.args, call.kwargs)))
        except Exception as error:
            records[case.name] = {
                "class": builtin_of(error),
                "sonnet": type(error).__name__,
                "stage": stage,
            }
            print(f"  {case.name}: {type(error).__name__} in {stage}: {str(error)[:90]!r}")
        else:
            failed.append(f"errors/{case.name}: Sonnet raised nothing")
    Writer().save("errors", records)
    print(f"errors: {len(records)} cases")
    return failed


def main(names: list[str]) -> int:
    """Each group by a process of its own, as TensorFlow reads its settings once."""
    if not names:
        groups = [*GROUPS, "errors", "api", "distributions", "optimizers"]
        command = [sys.executable, "-m", "tests.sonnet.record"]
        return max(subprocess.run([*command, name]).returncode for name in groups)
    failed = []
    for name in names:
        if name == "errors":
            failed += record_errors()
        elif name == "api":
            Writer().save("api", api(snt))
        elif name == "distributions":
            Writer().save("distributions", distributions(snt, tf))
        elif name == "optimizers":
            record_optimizers()
        else:
            failed += record_group(name)
    print("\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
