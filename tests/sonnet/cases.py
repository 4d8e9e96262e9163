"""All cases, by group. `tests/sonnet/record.py` runs them in Sonnet, the tests in purestate."""

from tests.sonnet import (
    cases_conv,
    cases_conv_transpose,
    cases_functions,
    cases_linear,
    cases_misc,
    cases_modules,
    cases_nets,
    cases_norm,
    cases_recurrent,
    cases_variables,
)
from tests.sonnet.cases_errors import ERRORS
from tests.sonnet.table import Case

__all__ = ["ERRORS", "GROUPS", "all_cases"]

GROUPS: dict[str, tuple[Case, ...]] = {
    "linear": cases_linear.CASES,
    "conv": cases_conv.CASES,
    "conv_transpose": cases_conv_transpose.CASES,
    "norm": cases_norm.CASES,
    "recurrent": cases_recurrent.CASES,
    "misc": cases_misc.CASES,
    "modules": cases_modules.CASES,
    "variables": cases_variables.CASES,
    "nets": cases_nets.CASES,
    "functions": cases_functions.CASES,
}


def all_cases() -> list[tuple[str, Case]]:
    """Each case with its group; names are unique."""
    return [(group, case) for group, cases in GROUPS.items() for case in cases]
