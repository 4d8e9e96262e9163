"""Types for annotations."""

from purestate._core.pairs import MutableParams, MutableState, Params, State
from purestate._core.protocols import ModuleProtocol, SupportsCall
from purestate._core.variables import Initializer

__all__ = [
    "Initializer",
    "ModuleProtocol",
    "MutableParams",
    "MutableState",
    "Params",
    "State",
    "SupportsCall",
]
