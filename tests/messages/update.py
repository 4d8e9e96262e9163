"""Writes the snapshot anew: `python -m tests.messages.update`."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.messages.cases import CASES  # noqa: E402
from tests.messages.record import read_snapshot, rendered, show, write_snapshot  # noqa: E402

if __name__ == "__main__":
    before = read_snapshot()
    shown = {name: show(case) for name, case in CASES.items()}
    write_snapshot(shown)
    changed = [name for name in shown if before.get(name) != rendered(shown[name])]
    gone = before.keys() - shown.keys()
    print(
        f"{len(shown)} messages; {len(changed)} new or changed, {len(gone)} gone.",
        *changed,
        *gone,
        sep="\n  ",
    )
