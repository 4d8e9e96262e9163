"""Prints each model x direction with its largest difference: `python -m tests.neighbours.convert_table`.

A difference is relative to the largest output if that is above 1 in the direction "to", and absolute in "from".
"""

import sys
from pathlib import Path

import pytest

from tests.convert.helpers import DIFFERENCES

if __name__ == "__main__":
    here = Path(__file__).parent
    files = map(str, sorted(here.glob("test_convert_*.py")))
    failed = pytest.main(["-q", "-m", "slow or not slow", *files])
    for model, direction, difference in DIFFERENCES:
        print(f"| {model} | {direction} | {difference:.1e} |")
    sys.exit(failed)
