"""Prints the tables of `docs/speed.md` from what `make bench` measured.

cp out/benchmarks.json docs/pictures/benchmarks.json
python benchmarks/page_tables.py
"""

import json
import pathlib
from typing import Any

MEASURED = pathlib.Path(__file__).parents[1] / "docs" / "pictures" / "benchmarks.json"
TITLES = {
    "mlp": "MLP with dropout",
    "lstm": "LSTM",
    "batch_norm": "BatchNorm, twice",
    "resnet18": "ResNet-18",
    "gpt": "GPT-12",
}
LIBRARIES = ("purestate", "haiku", "flax linen", "flax nnx", "equinox")


def rows() -> tuple[list[str], list[str]]:
    """Returns the rows of the table of calls, and of that of compiled programs."""
    models: dict[str, Any] = json.loads(MEASURED.read_text())["models"]
    calls: list[str] = []
    programs: list[str] = []
    for name, title in TITLES.items():
        found = models[name]
        ratios = [found["trace"]["calls"][library]["ratio"][0] for library in LIBRARIES]
        calls.append(f"| {title} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
        sizes = [
            f"{kind[library]['median']:,.0f}"
            for kind in (found["trace"]["equations"], found["HLO"])
            for library in ("by hand", "purestate")
        ]
        programs.append(f"| {title} | {' | '.join(sizes)} |")
    return calls, programs


if __name__ == "__main__":
    print("\n\n".join("\n".join(part) for part in rows()))
