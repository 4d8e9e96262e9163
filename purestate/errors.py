"""Every error that purestate raises.

    PurestateError
    ├── FrameError (ValueError): used outside a transformed function, or a misused frame
    ├── ArgumentError (TypeError): an argument of `init` or `apply` is in the wrong place
    │   └── SonnetTypeError: an argument of a type that Sonnet refuses as well
    ├── CallError (the builtin error): JAX or Python failed on a value passed to purestate
    ├── CheckError (ValueError): all problems that `ps.check` found
    ├── ConditionError (RuntimeError): the condition of a `ps.error_if` is true
    ├── ConfigError (ValueError): a setting with an invalid value
    ├── ModuleError (ValueError): a module was constructed in the wrong way
    │   ├── ModuleNameError: a name that is not an identifier, or is taken
    │   └── NoVariablesError: the variables of a module before it created any
    ├── VariableError (ValueError): a variable cannot be made, read or written as requested
    │   ├── MissingParameterError: the params passed to `apply` lack a parameter
    │   ├── MissingStateError: a state that does not exist, without a way to make it
    │   │   └── WrongFrameError: a module or variable of another run
    │   ├── MissingInitializerError: a variable needs an initializer to be made, and got none
    │   ├── ShapeMismatchError: an array has another shape than requested
    │   ├── DtypeMismatchError: one name with two kinds of dtype
    │   └── CollectionError: a name in two collections, or a collection in the wrong role
    │       └── ImmutableCollectionError: a write to a collection that is not mutable
    ├── StaleStateError (ValueError): `apply` got state that an earlier `apply` has replaced
    ├── VariableTypeError (TypeError, ValueError): the value of a variable is not an array
    ├── NonEmptyStateError (ValueError): the transform has no place for state
    ├── MissingRNGError (ValueError): the function needs a random key, and got none
    ├── InvalidRNGError (ValueError): not a random key, or an invalid number of keys
    ├── JaxUsageError (ValueError): a side effect inside a plain JAX transform
    ├── MappingError (ValueError): `vmap` cannot tell the size of the mapped axis
    │   ├── BatchedStateError: a value written under `vmap` differs between mapped elements
    │   └── CollectionModeError: a mode that is not one, or does not fit the values
    ├── LiftError (ValueError): a lifted function whose variables clash, or whose state is lost
    ├── BranchError (ValueError): `cond` or `switch` got its operands in two ways
    ├── CustomRuleError (ValueError, TypeError): a derivative rule that does not fit its function
    ├── LoopError (ValueError): a loop does what a loop of JAX cannot do
    │   └── NewVariableError (AssertionError): a variable first made inside a loop body
    ├── LayerError (ValueError): options or inputs that do not fit a layer
    │   ├── LookupStyleError (AttributeError): `Embed` has no such style
    │   ├── RecurrentError (TypeError, IndexError): a state or sequence that does not fit
    │   └── TracedBoolError (TracerBoolConversionError): a traced Python bool
    ├── OperationError (ValueError): an interceptor of operations that does not fit the operation
    ├── RuleError (ValueError): a rule that fits no module, or contradicts another
    ├── AxesError (TypeError): neither one value for all axes nor one for each
    ├── InitializerError (ValueError): an initializer with invalid options, or for another shape
    ├── DeferredAttributeError (AttributeError): an attribute of a module that is not made yet
    ├── PolicyError (ValueError, AssertionError): not a policy, or one that cannot apply there
    ├── LossScaleError (ValueError): options of a loss scale that do not fit, or no state of one
    ├── BundleError (ValueError): bundles that do not belong together
    │   └── PathError (LookupError): nothing at a path, or something already
    ├── BundleTypeError (TypeError): not {module: {name: value}}
    ├── PartError (AssertionError, ValueError): the number of a part that does not exist
    ├── PredicateError (TypeError): a predicate called, or combined, in the wrong way
    ├── ViewError (ValueError, RuntimeError): a model or optimizer and arrays that do not fit
    ├── ViewTypeError (TypeError): a model or optimizer of something that it cannot hold
    ├── ViewAttributeError (AttributeError): a model has no such attribute
    ├── CheckpointError (ValueError): a tree cannot be saved, or a file loaded as requested
    │   ├── CheckpointFileError (OSError): a file is damaged, or cannot be read or written
    │   │   └── CheckpointNotFoundError (FileNotFoundError): the file or folder does not exist
    │   └── CheckpointMismatchError: a file and the model do not have the same variables
    ├── ExportError (ValueError): a function cannot be exported, or gets other inputs than exported
    ├── QuantizeError (ValueError): an array, a model or its state that cannot be quantized so
    ├── ConversionError (ValueError): weights of another library that do not fit the model
    ├── SonnetValueError (ValueError): a value that Sonnet refuses as well
    ├── SonnetIndexError (IndexError): fewer elements than a module of Sonnet needs
    ├── SonnetAttributeError (AttributeError): a module does not have the attribute yet
    ├── TableError (ValueError): a column or filter that does not exist
    ├── RetraceError (AssertionError): JAX traced a function more often than was allowed
    ├── MissingPackageError (ImportError): a package that only this function needs
    └── FlaxNotInstalledError (ImportError): `ps.experimental.flax` needs flax

    PurestateWarning (UserWarning)
    ├── AttentionFallbackWarning: a kernel for attention does not support a call
    ├── SharedKeyWarning: one random key for all mapped elements of a plain `jax.vmap`
    ├── EmptyStateWarning: `apply` got an empty state, and re-initialized it
    ├── JaxUsageWarning: a JaxUsageError that `ps.config` turned into a warning
    ├── StaleStateWarning: a StaleStateError that `ps.config` made a warning of
    ├── LoraWarning: `ps.lora` passed over modules that it cannot adapt
    └── UnverifiedWarning: weights were taken over, and nothing shows that each is in its place

Each class also derives from the builtin in parentheses, which programs written for dm-haiku catch.
"""

from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
)
from purestate._convert.errors import ConversionError, UnverifiedWarning
from purestate._core.errors import (
    ArgumentError,
    BatchedStateError,
    BranchError,
    CallError,
    CheckError,
    CollectionError,
    CollectionModeError,
    ConditionError,
    ConfigError,
    CustomRuleError,
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
    MissingPackageError,
    MissingParameterError,
    MissingRNGError,
    MissingStateError,
    ModuleError,
    ModuleNameError,
    NewVariableError,
    NonEmptyStateError,
    PurestateError,
    PurestateWarning,
    RetraceError,
    ShapeMismatchError,
    SharedKeyWarning,
    StaleStateError,
    StaleStateWarning,
    VariableError,
    VariableTypeError,
)
from purestate._core.first_use import on_first_use
from purestate._editing.errors import (
    BundleError,
    BundleTypeError,
    PartError,
    PathError,
    PredicateError,
)
from purestate._export.errors import ExportError
from purestate._flax.errors import FlaxNotInstalledError
from purestate._inspection.tabulate import TableError
from purestate._layers.axes import AxesError
from purestate._layers.deferred import DeferredAttributeError
from purestate._layers.embed import LookupStyleError
from purestate._layers.errors import LayerError, LoraWarning, TracedBoolError
from purestate._layers.initializers import InitializerError
from purestate._layers.recurrent.core import RecurrentError
from purestate._ops.errors import AttentionFallbackWarning, OperationError
from purestate._precision.errors import LossScaleError, PolicyError
from purestate._quantize.errors import QuantizeError
from purestate._rules.errors import RuleError
from purestate._sonnet.errors import (
    NoVariablesError,
    SonnetAttributeError,
    SonnetIndexError,
    SonnetTypeError,
    SonnetValueError,
    WrongFrameError,
)
from purestate._views.errors import ViewAttributeError, ViewError, ViewTypeError

# An error of flax too, so it is imported on first use.
__getattr__ = on_first_use(__name__, {"purestate._flax.flax_lift": "FlaxRngsError"})

__all__ = [
    "ArgumentError",
    "AttentionFallbackWarning",
    "AxesError",
    "BatchedStateError",
    "BranchError",
    "BundleError",
    "BundleTypeError",
    "CallError",
    "CheckError",
    "CheckpointError",
    "CheckpointFileError",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "CollectionError",
    "CollectionModeError",
    "ConditionError",
    "ConfigError",
    "ConversionError",
    "CustomRuleError",
    "DeferredAttributeError",
    "DtypeMismatchError",
    "EmptyStateWarning",
    "ExportError",
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
    "LoraWarning",
    "LossScaleError",
    "MappingError",
    "MissingInitializerError",
    "MissingPackageError",
    "MissingParameterError",
    "MissingRNGError",
    "MissingStateError",
    "ModuleError",
    "ModuleNameError",
    "NewVariableError",
    "NoVariablesError",
    "NonEmptyStateError",
    "OperationError",
    "PartError",
    "PathError",
    "PolicyError",
    "PredicateError",
    "PurestateError",
    "PurestateWarning",
    "QuantizeError",
    "RecurrentError",
    "RetraceError",
    "RuleError",
    "ShapeMismatchError",
    "SharedKeyWarning",
    "SonnetAttributeError",
    "SonnetIndexError",
    "SonnetTypeError",
    "SonnetValueError",
    "StaleStateError",
    "StaleStateWarning",
    "TableError",
    "TracedBoolError",
    "UnverifiedWarning",
    "VariableError",
    "VariableTypeError",
    "ViewAttributeError",
    "ViewError",
    "ViewTypeError",
    "WrongFrameError",
]
