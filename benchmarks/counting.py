"""Counting calls, which repeat to the last digit where times do not."""

import sys
from collections.abc import Callable
from typing import Any


def count_calls(run: Callable[[], Any]) -> int:
    """Returns how many Python and C functions are called while `run` runs."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls
