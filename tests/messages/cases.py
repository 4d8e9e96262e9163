"""One case for each message: the smallest code that brings it about."""

from collections.abc import Callable
from typing import Any

from tests.messages import (
    cases_checkpoint,
    cases_convert,
    cases_core,
    cases_derivatives,
    cases_editing,
    cases_export,
    cases_layers,
    cases_lifted,
    cases_outside,
    cases_port,
    cases_quantize,
    cases_rest,
    cases_sonnet_layers,
    cases_sonnet_recurrent,
    cases_sonnet_rest,
    cases_tensorflow,
)

CASES: dict[str, Callable[[], Any]] = {
    f"{room.__name__.partition('.cases_')[2]}: {name}": case
    for room in (
        cases_core,
        cases_lifted,
        cases_derivatives,
        cases_editing,
        cases_layers,
        cases_outside,
        cases_rest,
        cases_checkpoint,
        cases_export,
        cases_convert,
        cases_port,
        cases_quantize,
        cases_tensorflow,
        cases_sonnet_layers,
        cases_sonnet_recurrent,
        cases_sonnet_rest,
    )
    for name, case in room.CASES.items()
}
