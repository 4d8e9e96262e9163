"""All traps, in the order of the page."""

from tests.neighbours import (
    sonnet_trap_arguments,
    sonnet_trap_calls,
    sonnet_trap_layers,
    sonnet_trap_names,
    sonnet_trap_numbers,
    sonnet_trap_start,
)
from tests.neighbours.sonnet_traps import Trap

TRAPS: list[Trap] = [
    *sonnet_trap_numbers.TRAPS,
    *sonnet_trap_start.TRAPS,
    *sonnet_trap_arguments.TRAPS,
    *sonnet_trap_calls.TRAPS,
    *sonnet_trap_names.TRAPS,
    *sonnet_trap_layers.TRAPS,
]
