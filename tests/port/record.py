"""Records what TensorFlow makes of each snippet. Needs TensorFlow:

    .venv-neighbours/bin/python -m tests.port.record
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.port.snippets import CASES, PREAMBLE

PATH = Path(__file__).parent / "recorded.json"


def leaves(value: Any) -> list[Any]:
    """The arrays in a result; dicts in the order of their keys."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def entry(value: Any) -> dict[str, Any]:
    """An array as JSON: its dtype, shape and numbers."""
    array = np.asarray(value)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], -1)
    numbers = [_number(x) for x in array.ravel().tolist()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "numbers": numbers}


def _number(x: Any) -> Any:
    """A float in as few digits as float32 needs."""
    return float(f"{x:.9g}") if isinstance(x, float) else x


def record() -> dict[str, list[dict[str, Any]]]:
    """Runs all snippets."""
    space: dict[str, Any] = {}
    exec(PREAMBLE, space)
    recorded: dict[str, list[dict[str, Any]]] = {}
    refused: list[str] = []
    for _, snippet in CASES:
        try:
            recorded[snippet] = [entry(leaf) for leaf in leaves(eval(snippet, dict(space)))]
        except Exception as error:
            refused.append(f"TensorFlow refuses `{snippet}`: {error}")
    if refused:
        raise RuntimeError("\n".join(refused))
    return recorded


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in record().items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(len(lines), "snippets recorded")
