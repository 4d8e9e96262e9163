"""The errors that purestate raises; the tree is drawn in `purestate/_core/errors.py`."""

from purestate._core.errors import (
    ArgumentError,
    BatchedStateError,
    BranchError,
    ConfigError,
    FrameError,
    InvalidRNGError,
    JaxUsageError,
    LiftError,
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
from purestate._editing.bundles import BundleError, BundleTypeError, PartError
from purestate._flax.errors import FlaxNotInstalledError
from purestate._inspection.tabulate import MissingPackageError, TableError
from purestate._layers.axes import AxesError
from purestate._layers.deferred import DeferredAttributeError
from purestate._layers.embed import LookupStyleError
from purestate._layers.errors import LayerError
from purestate._layers.initializers import InitializerError
from purestate._layers.recurrent.core import RecurrentError
from purestate._precision.errors import PolicyError

__all__ = [
    "ArgumentError",
    "AxesError",
    "BatchedStateError",
    "BranchError",
    "BundleError",
    "BundleTypeError",
    "ConfigError",
    "DeferredAttributeError",
    "FlaxNotInstalledError",
    "FrameError",
    "InitializerError",
    "InvalidRNGError",
    "JaxUsageError",
    "LayerError",
    "LiftError",
    "LookupStyleError",
    "LoopError",
    "MappingError",
    "MissingInitializerError",
    "MissingPackageError",
    "MissingParameterError",
    "MissingRNGError",
    "MissingStateError",
    "ModuleError",
    "ModuleNameError",
    "NewVariableError",
    "NonEmptyStateError",
    "PartError",
    "PolicyError",
    "PurestateError",
    "RecurrentError",
    "ShapeMismatchError",
    "TableError",
    "VariableError",
    "VariableTypeError",
]
