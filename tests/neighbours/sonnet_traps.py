"""The traps between Sonnet and the ordinary layers: each is measured in Sonnet, in both ways of ours.

`python -m tests.neighbours.sonnet_traps` measures all of them, writes the numbers to
`docs/sonnet_traps.json`, and the tables of `docs/coming_from_sonnet.md` from it. It needs dm-sonnet
and TensorFlow.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import purestate as ps
from purestate import sonnet as facade

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS = DOCS / "sonnet_traps.json"
PAGE = DOCS / "coming_from_sonnet.md"
KEY = jax.random.key(0)
Measured = list[float | str]


class Lib(NamedTuple):
    """What a measurement needs of a library, to be written once for Sonnet and `purestate.sonnet`.

    Attributes:
      snt: the package.
      Variable: makes a variable.
      array: makes an array.
      gradient: `gradient(f, variable)`, of the scalar `f()`.
    """

    snt: Any
    Variable: Callable[..., Any]
    array: Callable[..., Any]
    gradient: Callable[[Callable[[], Any], Any], np.ndarray]


class Trap(NamedTuple):
    """A row of a table.

    Attributes:
      table: the heading of the table.
      what: the first cell, in Markdown.
      sonnet: measures it in Sonnet or in `purestate.sonnet`.
      ordinary: measures it in the ordinary layers; a text is a cell as it is.
      digits: how many of them are shown and compared.
      is_random: whether the numbers depend on random values, and so are compared roughly.
    """

    table: str
    what: str
    sonnet: Callable[[Lib], Any]
    ordinary: Callable[[], Any] | str
    digits: int = 4
    is_random: bool = False

    @property
    def key(self) -> str:
        return f"{self.table}: {self.what}"


def facade_lib() -> Lib:
    import jax.numpy as jnp

    def gradient(f: Callable[[], Any], variable: Any) -> np.ndarray:
        return np.asarray(facade.value_and_grad(f, [variable])()[1][0])

    return Lib(facade, facade.Variable, jnp.asarray, gradient)


def sonnet_lib() -> Lib:
    import sonnet
    import tensorflow as tf

    def gradient(f: Callable[[], Any], variable: Any) -> np.ndarray:
        with tf.GradientTape() as tape:
            y = f()
        dy = tape.gradient(y, variable)
        return np.zeros(variable.shape, np.float32) if dy is None else dy.numpy()

    return Lib(sonnet, tf.Variable, tf.constant, gradient)


def ramp(shape: Iterable[int]) -> np.ndarray:
    """Returns weights that depend on the number of elements only."""
    shape = tuple(shape)
    return (0.5 * np.sin(1.0 + np.arange(math.prod(shape)))).reshape(shape).astype(np.float32)


def fill(module: Any) -> Any:
    """Gives the parameters of a module these weights."""
    for variable in module.trainable_variables:
        variable.assign(ramp(variable.shape))
    return module


def run(f: Callable[..., Any], *args: Any, weights: Any = "ramp", state: Any = None) -> Any:
    """Returns output and state of the ordinary layers; other weights than given ones are ramps."""
    pair = ps.transform_with_state(f)
    params, initial = pair.init(KEY, *args)
    if weights is not None:
        given = {} if isinstance(weights, str) else weights
        params = {
            module: {
                name: np.asarray(given.get(f"{module}/{name}", ramp(value.shape)), np.float32)
                for name, value in bundle.items()
            }
            for module, bundle in params.items()
        }
    return pair.apply(params, initial if state is None else state, KEY, *args)


def out(f: Callable[..., Any], *args: Any, **options: Any) -> np.ndarray:
    return np.asarray(run(f, *args, **options)[0])


def initial(f: Callable[..., Any], *args: Any) -> dict[str, np.ndarray]:
    """Returns the initial params by full names."""
    params, _ = ps.transform_with_state(f).init(KEY, *args)
    return {f"{m}/{n}": np.asarray(v) for m, bundle in params.items() for n, v in bundle.items()}


def result(f: Callable[[], Any]) -> Any:
    """Returns what `f` gives, or the class of Python's own errors that it raises."""
    try:
        return f()
    except Exception as error:
        builtin = [c for c in type(error).__mro__ if c.__module__ == "builtins"]
        name = builtin[0].__name__
        return "an error" if name == "Exception" else f"`{name}`"


def refused(f: Callable[[], Any]) -> Any:
    """Returns what `f` gives, or that it raises: TensorFlow's errors have no class in Python."""
    try:
        return f()
    except Exception:
        return "an error"


def shape_of(x: Any) -> str:
    return "`" + str([int(size) for size in np.shape(x)]) + "`"


def arguments(f: Any, start: int = 0, stop: int | None = None) -> str:
    """Returns the names of some arguments, with defaults that are simple."""
    function = f.__init__ if isinstance(f, type) else f
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]

    def shown(p: inspect.Parameter) -> str:
        return f"{p.name}={p.default!r}" if isinstance(p.default, (int, float)) else p.name

    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return "`" + ", ".join(map(shown, positional[start:stop])) + "`"


def flat(measured: Any) -> Measured:
    """Returns what was measured as numbers and texts."""
    if isinstance(measured, str):
        return [measured]
    if isinstance(measured, (list, tuple)) and any(isinstance(x, str) for x in measured):
        return [x if isinstance(x, str) else float(x) for x in measured]
    return [float(x) for x in np.ravel(np.asarray(measured))]


def cell(measured: Measured, digits: int) -> str:
    """Returns a cell; the 0.0 is for zeros with a sign."""
    return ", ".join(
        x if isinstance(x, str) else f"{round(x, 6) + 0.0:.{digits}g}" for x in measured
    )


def measure(trap: Trap, lib: Lib | None) -> Measured:
    """Measures a trap in a library, or in the ordinary layers if that is None."""
    if lib is not None:
        return flat(trap.sonnet(lib))
    return flat(trap.ordinary if isinstance(trap.ordinary, str) else trap.ordinary())


def is_same(a: Measured, b: Measured, trap: Trap) -> bool:
    """Whether two measurements of a trap agree."""
    tolerance = 0.05 if trap.is_random else 10.0**-trap.digits

    def same(x: float | str, y: float | str) -> bool:
        if isinstance(x, str) or isinstance(y, str):
            return x == y
        return math.isclose(x, y, rel_tol=tolerance, abs_tol=1e-5)

    return len(a) == len(b) and all(map(same, a, b))


def rows(numbers: dict[str, Any], traps: list[Trap]) -> dict[str, list[str]]:
    """Returns the rows of each table."""
    tables: dict[str, list[str]] = {}
    for trap in traps:
        found = numbers[trap.key]
        ours, theirs = (cell(found[k], trap.digits) for k in ("ordinary", "sonnet"))
        tables.setdefault(trap.table, []).append(f"| {trap.what} | {theirs} | {ours} |")
    return tables


def with_tables(page: str, numbers: dict[str, Any], traps: list[Trap]) -> str:
    """Returns the page with the tables that the numbers make."""
    for table, lines in rows(numbers, traps).items():
        start = f"<!-- traps: {table} -->"
        head = "| | Sonnet and `purestate.sonnet` | ordinary layers |\n|---|---|---|"
        text = "\n".join([start, "", head, *lines, "", ""])
        old = rf"{re.escape(start)}\n.*?(?=<!-- end -->)"
        page, count = re.subn(old, lambda _, text=text: text, page, flags=re.DOTALL)
        if not count:
            raise LookupError(f"The page has no place for the table {table!r}.")
    return page


def record() -> None:
    from tests.neighbours.sonnet_trap_table import TRAPS

    lib = sonnet_lib()
    numbers: dict[str, Any] = {}
    for trap in TRAPS:
        numbers[trap.key] = {"sonnet": measure(trap, lib), "ordinary": measure(trap, None)}
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")
    PAGE.write_text(with_tables(PAGE.read_text(), numbers, TRAPS))


if __name__ == "__main__":
    record()
