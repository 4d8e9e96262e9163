"""Recordings: a json of what Sonnet said, whose arrays are in an npz beside it.

In the json an array is `["float32", place, shape]`, a place in the one long array of that type. (An npz
with an entry for each array would be twice as large, as most have a few elements.)
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = ("path", "sonnet", "shape", "dtype", "trainable", "random", "created")
"""What is recorded of a variable; `sonnet` is its name there, if equal names are why it is not `path`."""

FOLDER = Path(__file__).parent / "recordings"


class Writer:
    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}
        self._sizes: dict[str, int] = {}

    def put(self, array: Any) -> list[Any]:
        array = np.asarray(array)
        kind = array.dtype.name
        place = self._sizes.get(kind, 0)
        self._sizes[kind] = place + array.size
        self._parts.setdefault(kind, []).append(array.ravel())
        return [kind, place, list(array.shape)]

    def save(self, name: str, records: Any) -> None:
        arrays = {kind: np.concatenate(parts) for kind, parts in self._parts.items()}
        if arrays:
            np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
        dump = lambda value: json.dumps(value, separators=(",", ":"))
        lines = [f"{dump(key)}: {dump(value)}" for key, value in records.items()]
        (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


class Recording:
    def __init__(self, name: str):
        self.records: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        path = FOLDER / f"{name}.npz"
        self._arrays = dict(np.load(path)) if path.exists() else {}

    def get(self, place: list[Any]) -> np.ndarray:
        kind, start, shape = place
        size = int(np.prod(shape, dtype=int))
        return self._arrays[kind][start : start + size].reshape(shape)


@cache
def recording(name: str) -> Recording:
    return Recording(name)
