"""The errors that purestate raises; the tree is drawn in `purestate/_core/errors.py`."""

from purestate._core.errors import (
    ArgumentError,
    BatchedStateError,
    BranchError,
    CallError,
    CheckError,
    CollectionError,
    CollectionModeError,
    ConfigError,
    DtypeMismatchError,
    EmptyStateWarning,
    FrameError,
    ImmutableCollectionError,
    InvalidRNGError,
    JaxUsageError,
    JaxUsageWarning,
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
    PurestateWarning,
    ShapeMismatchError,
    SharedKeyWarning,
    VariableError,
    VariableTypeError,
)
from purestate._editing.errors import BundleError, BundleTypeError, PartError
from purestate._editing.paths import PathError
from purestate._editing.predicates import PredicateError
from purestate._flax.errors import FlaxNotInstalledError
from purestate._inspection.tabulate import MissingPackageError, TableError
from purestate._layers.axes import AxesError
from purestate._layers.deferred import DeferredAttributeError
from purestate._layers.embed import LookupStyleError
from purestate._layers.errors import LayerError
from purestate._layers.initializers import InitializerError
from purestate._layers.recurrent.core import RecurrentError
from purestate._precision.errors import PolicyError
from purestate._views.errors import ViewAttributeError, ViewError, ViewTypeError

__all__ = [
    "ArgumentError",
    "AxesError",
    "BatchedStateError",
    "BranchError",
    "BundleError",
    "BundleTypeError",
    "CallError",
    "CheckError",
    "CollectionError",
    "CollectionModeError",
    "ConfigError",
    "DeferredAttributeError",
    "DtypeMismatchError",
    "EmptyStateWarning",
    "FlaxNotInstalledError",
    "FrameError",
    "ImmutableCollectionError",
    "InitializerError",
    "InvalidRNGError",
    "JaxUsageError",
    "JaxUsageWarning",
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
    "PathError",
    "PolicyError",
    "PredicateError",
    "PurestateError",
    "PurestateWarning",
    "RecurrentError",
    "ShapeMismatchError",
    "SharedKeyWarning",
    "TableError",
    "VariableError",
    "VariableTypeError",
    "ViewAttributeError",
    "ViewError",
    "ViewTypeError",
]
