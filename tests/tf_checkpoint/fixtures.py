"""The recorded checkpoints, and what must be read from them; see `record.py`."""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "recorded"
MODELS = sorted(path.stem for path in FOLDER.glob("*.npz"))
TWINS = [
    *("dueling", "lstm", "mlps", "nested", "numbered", "passed", "plain", "resnet", "sequential"),
    *("twins_reversed", "two_linears"),
]
"""Models with modules that only the order of construction tells apart.

That of the attributes is the same, but for `passed`."""

Bundles = dict[str, dict[str, Any]]


def prefix(name: str) -> str:
    return str(FOLDER / name)


def expected(name: str) -> dict[str, np.ndarray]:
    """Returns all that was recorded beside a checkpoint."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def attributes(name: str) -> dict[str, np.ndarray]:
    """Returns `{path of attributes: array}`."""
    start = "attribute:"
    return {
        key.removeprefix(start): x for key, x in expected(name).items() if key.startswith(start)
    }


def bundles(name: str, kind: str) -> Bundles:
    """Returns `{module: {name: array}}`; `kind` is params, state, gradient or next."""
    found: Bundles = {}
    for key, x in expected(name).items():
        if key.startswith(kind + ":"):
            _, module, variable = key.split(":")
            found.setdefault(module, {})[variable] = x
    return found


def params_and_state(name: str) -> tuple[Bundles, Bundles]:
    return bundles(name, "params"), bundles(name, "state")


def by_value(name: str) -> dict[str, tuple[str, str]]:
    """Returns the attributes of each variable, found by comparing values."""
    params, state = params_and_state(name)
    places = {
        (module, variable): x
        for bundles in (params, state)
        for module, variables in bundles.items()
        for variable, x in variables.items()
    }
    found: dict[str, tuple[str, str]] = {}
    for path, x in attributes(name).items():
        if path.startswith("model/"):
            place = next(p for p, y in places.items() if np.array_equal(x, y))
            found[path.removeprefix("model/")] = place
            del places[place]
    assert not places
    return found


def where(name: str) -> dict[str, tuple[str, str]] | None:
    """Returns the arguments that `restore` needs for a model."""
    return by_value(name) if name in TWINS else None


def blank(values: Bundles) -> Bundles:
    return {m: {n: np.full_like(x, 7) for n, x in v.items()} for m, v in values.items()}


def copy(name: str, folder: Path) -> str:
    """Copies a checkpoint, to be damaged; returns its new prefix."""
    for path in FOLDER.glob(f"{name}.*"):
        if path.suffix != ".npz":
            (folder / path.name).write_bytes(path.read_bytes())
    return str(folder / name)


def assert_same(one: Bundles, other: Bundles) -> None:
    assert {m: set(v) for m, v in one.items()} == {m: set(v) for m, v in other.items()}
    for module, variables in one.items():
        for name, x in variables.items():
            np.testing.assert_array_equal(x, other[module][name], err_msg=f"{module}/{name}")
            assert np.asarray(x).dtype == np.asarray(other[module][name]).dtype
