"""Messages of the porting tool."""

from collections.abc import Callable
from typing import Any

from purestate.port import port_source
from tests.messages.cases_rest import without_package

CASES: dict[str, Callable[[], Any]] = {
    "no such library": lambda: port_source("", "keras"),
    "libcst is not installed": without_package("libcst", lambda: port_source("")),
}
