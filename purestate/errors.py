"""The errors that purestate raises; the tree is drawn in `purestate/_core/errors.py`."""

from purestate._core.errors import (
    ArgumentError,
    BatchedStateError,
    ConfigError,
    FrameError,
    InvalidRNGError,
    JaxUsageError,
    LoopError,
    MappingError,
    MissingInitializerError,
    MissingParameterError,
    MissingRNGError,
    MissingStateError,
    ModuleError,
    ModuleNameError,
    NewVariableError,
    NonEmptyStateError,
    PurestateError,
    ShapeMismatchError,
    VariableError,
    VariableTypeError,
)
from purestate._layers.axes import AxesError
from purestate._layers.errors import LayerError
from purestate._layers.initializers import InitializerError

__all__ = [
    "ArgumentError",
    "AxesError",
    "BatchedStateError",
    "ConfigError",
    "FrameError",
    "InitializerError",
    "InvalidRNGError",
    "JaxUsageError",
    "LayerError",
    "LoopError",
    "MappingError",
    "MissingInitializerError",
    "MissingParameterError",
    "MissingRNGError",
    "MissingStateError",
    "ModuleError",
    "ModuleNameError",
    "NewVariableError",
    "NonEmptyStateError",
    "PurestateError",
    "ShapeMismatchError",
    "VariableError",
    "VariableTypeError",
]
