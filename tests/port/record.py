"""Records what TensorFlow makes of each snippet. Needs TensorFlow:

.venv-neighbours/bin/python -m tests.port.record
"""

import json
import types
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


def run_program(text: str) -> list[float]:
    """Runs a program, and returns what its `main` returns."""
    module = types.ModuleType("program")
    exec(compile(text, "program", "exec"), module.__dict__)
    return [float(number) for number in module.main()]


def record_programs() -> dict[str, list[float]]:
    """Runs the programs for Sonnet that have a `main`."""
    programs = sorted((PATH.parent / "programs").glob("sonnet_*.in.txt"))
    # dm-sonnet 2.0.2 has no `sonnet.v2`, which published programs import.
    texts = {
        path.name.removesuffix(".in.txt"): path.read_text().replace("sonnet.v2", "sonnet")
        for path in programs
    }
    return {name: run_program(text) for name, text in texts.items() if "def main(" in text}


def write(path: Path, recorded: dict[str, Any]) -> None:
    """Writes one line for each entry."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in recorded.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(len(lines), "entries in", path.name)


if __name__ == "__main__":
    write(PATH, record())
    write(PATH.with_name("recorded_programs.json"), record_programs())
