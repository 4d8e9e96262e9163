"""The recorded checkpoints, and what must be read from them; see `record.py`."""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "recorded"
MODELS = sorted(path.stem for path in FOLDER.glob("*.npz"))

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
