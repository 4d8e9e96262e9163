"""Every error that purestate raises, drawn once.

    PurestateError
    ├── FrameError                    (ValueError)  used outside a transformed function, or a
      misused frame
    ├── ArgumentError                 (TypeError)  init/apply was given something in the wrong place
    ├── CallError                     (the builtin that it is)  JAX or Python could not use what was
      given
    ├── CheckError                    (ValueError)  all that `ps.check` found wrong with what
      `apply` was given
    ├── ConfigError                   (ValueError)  a setting that has no meaning
    ├── ModuleError                   (ValueError)  a module was built wrongly
    │   └── ModuleNameError           a name that is not an identifier, or is taken
    ├── VariableError                 (ValueError)  a variable was asked for in a way that cannot be
      met
    │   ├── MissingParameterError     `apply` was given no such parameter
    │   ├── MissingStateError         no such state, and no way to make it
    │   ├── MissingInitializerError   a variable must be made, and nothing says how
    │   ├── ShapeMismatchError        what is there has another shape than what was asked
    │   ├── DtypeMismatchError        one name asked for as numbers of two kinds
    │   └── CollectionError           a name in two collections, or a collection used as what it is
      not
    │       └── ImmutableCollectionError  a write to a collection that `apply` was not told may
      change
    ├── VariableTypeError             (TypeError, ValueError)  the value is not an array, or the
      name no string
    ├── NonEmptyStateError            (ValueError)  state was made under a transform that has no
      place for it
    ├── MissingRNGError               (ValueError)  random numbers were asked for, and no key was
      given
    ├── InvalidRNGError               (ValueError)  the key is not a key, or so many there cannot be
    ├── JaxUsageError                 (ValueError)  a side effect inside a plain JAX transform
    ├── MappingError                  (ValueError)  `vmap` cannot tell what to map over
    │   ├── BatchedStateError         a value written under `vmap` differs from row to row
    │   └── CollectionModeError       a mode that is none, or does not fit the values
    ├── LiftError                     (ValueError)  a lifted function that would mix up variables,
      or lose state
    ├── BranchError                   (ValueError)  `cond` or `switch` was called in two ways at
      once
    ├── LoopError                     (ValueError)  a loop body or condition that did what it must
      not
    │   └── NewVariableError          (AssertionError)  a variable first made inside a loop body
    ├── LayerError                    (ValueError)  a layer was given options or an input that do
      not fit
    │   ├── LookupStyleError          (AttributeError)  `Embed` has no such style
    │   └── RecurrentError            (TypeError, IndexError)  a state or a sequence that does not
      fit
    ├── AxesError                     (TypeError)  neither one value for all axes nor one for each
    ├── InitializerError              (ValueError)  set up wrongly, or asked for a shape that it
      cannot fill
    ├── DeferredAttributeError        (AttributeError)  of a module that is not made yet
    ├── PolicyError                   (ValueError, AssertionError)  a policy that is none, or cannot
      apply there
    ├── BundleError                   (ValueError)  bundles that do not go together
    │   └── PathError                 (LookupError)  nothing at a path, or something already
    ├── BundleTypeError               (TypeError)  not {module: {name: value}}
    ├── PartError                     (AssertionError, ValueError)  a part that there is not
    ├── PredicateError                (TypeError)  a predicate called, or combined, in a way that
      has no meaning
    ├── ViewError                     (ValueError, RuntimeError)  a model or optimizer that would
      lose what it holds
    ├── ViewTypeError                 (TypeError)  a model or optimizer of something that it cannot
      hold
    ├── ViewAttributeError            (AttributeError)  a model has no such attribute
    ├── TableError                    (ValueError)  a column or filter that there is not
    ├── MissingPackageError           (ImportError)  needed for this alone, and not installed
    └── FlaxNotInstalledError         (ImportError)  needed for `ps.experimental.flax`

    PurestateWarning                  (UserWarning)
    ├── SharedKeyWarning              one random key for all rows of a plain jax.vmap
    ├── EmptyStateWarning             state begins anew, since `apply` was given an empty one
    └── JaxUsageWarning               a JaxUsageError, where a warning is asked for

Each class also derives from the builtin, in brackets, that programs written for dm-haiku catch.
"""

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
from purestate._editing.errors import (
    BundleError,
    BundleTypeError,
    PartError,
    PathError,
    PredicateError,
)
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
