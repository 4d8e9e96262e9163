"""The errors of the core, and what all errors come from; `purestate/errors.py` draws the whole tree."""

from typing import Any


def kind_of(value: Any) -> str:
    """What to call a wrong value in a message: `None`, `the class Linear`, `a list`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class PurestateError(Exception):
    """The root of all errors that purestate raises on purpose."""


class FrameError(PurestateError, ValueError):
    """Something that needs a running transformed function was used outside one."""


class CallError(PurestateError):
    """JAX or Python could not do with what purestate was given what was asked for.

    It also is the builtin error that they raised, and has its message, with the module and the line
    of the call.
    """

    __str__ = (
        Exception.__str__
    )  # and not that of KeyError, which shows the message as Python would write it

    def __reduce__(self) -> Any:
        return _call_error, (type(self).__bases__[1], str(self))


def call_error_class(kind: type[Exception]) -> type[CallError]:
    """Makes the class that is a `CallError` and another error too."""
    return type(
        "CallError",
        (CallError, kind),
        {"__doc__": CallError.__doc__, "__module__": CallError.__module__},
    )


CALL_ERRORS: dict[type[Exception], type[CallError]] = {
    kind: call_error_class(kind)
    for kind in (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        IndexError,
        KeyError,
        ArithmeticError,
        OverflowError,
        ZeroDivisionError,
        AssertionError,
        RuntimeError,
        NotImplementedError,
    )
}
"""The class for each error of Python; all others stay as they are."""


def _call_error(kind: type[Exception], message: str) -> CallError:
    return CALL_ERRORS[kind](message)


class ArgumentError(PurestateError, TypeError):
    """`init` or `apply` was given an argument that cannot be what its place says."""


class ModuleError(PurestateError, ValueError):
    """A module was constructed in a way that leaves it without a name or a place."""


class ModuleNameError(ModuleError):
    """A module name is not a Python identifier, or is already taken."""


class VariableError(PurestateError, ValueError):
    """A parameter or a state was asked for in a way that cannot be met."""


class MissingParameterError(VariableError):
    """`apply` asked for a parameter that the given params do not have."""


class MissingStateError(VariableError):
    """A state was read that does not exist, and nothing said how to make it."""


class MissingInitializerError(VariableError):
    """A variable has to be created, but no initializer was given."""


class ShapeMismatchError(VariableError):
    """A variable has another shape than the one that was asked for."""


class DtypeMismatchError(VariableError):
    """A parameter was asked for twice in one run, as numbers of two kinds: float, integer, bool, complex."""


class CollectionError(VariableError):
    """A variable was asked for in a collection that it is not in, or that cannot hold it."""


class ImmutableCollectionError(CollectionError):
    """A variable was written in a collection that `apply` was not told may change."""


class CheckError(PurestateError, ValueError):
    """What `apply` was given does not fit its function; says all that is wrong at once.

    Attributes:
      problems: what is wrong, one `Problem` for each variable.
    """

    def __init__(self, message: str, problems: tuple[Any, ...] = ()):
        super().__init__(message)
        self.problems = problems

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.problems)


class VariableTypeError(PurestateError, TypeError, ValueError):
    """A value that is to become a variable is not an array, or its name is not a string."""


class NonEmptyStateError(PurestateError, ValueError):
    """A function transformed without state has made some."""


class MissingRNGError(PurestateError, ValueError):
    """A random key was asked for, and `init` or `apply` was given none."""


class InvalidRNGError(PurestateError, ValueError):
    """What was given as a random key is not one, or as many keys cannot be."""

    hint = ""


class JaxUsageError(PurestateError, ValueError):
    """A side effect happened inside a plain JAX transform, and its result would be lost or leak."""


class MappingError(PurestateError, ValueError):
    """`vmap` was not told, or was told in two ways, how many rows there are."""


class BatchedStateError(MappingError):
    """A value written under `vmap` is different for each row, and nothing says how to combine them."""


class CollectionModeError(MappingError):
    """How a collection is to go through `vmap`, `scan` or `shard_map` was said in a way that does not fit."""


class LiftError(PurestateError, ValueError):
    """Variables of a lifted function meet others of the same name, or its state is dropped."""


class BranchError(PurestateError, ValueError):
    """`cond` or `switch` was given its operands in two ways at once."""


class LoopError(PurestateError, ValueError):
    """A loop was used in a way that its JAX counterpart cannot express."""


class NewVariableError(LoopError, AssertionError):
    """A loop body made a variable that its first step did not make."""


class ConfigError(PurestateError, ValueError):
    """A setting was given a value that has no meaning."""


class PurestateWarning(UserWarning):
    """The root of all warnings of purestate."""


class SharedKeyWarning(PurestateWarning):
    """A random key was drawn inside a plain `jax.vmap`, so that all rows share it."""


class EmptyStateWarning(PurestateWarning):
    """`apply` was given an empty state, and made anew what it needed."""


class JaxUsageWarning(PurestateWarning):
    """What would be a `JaxUsageError`, where `ps.config` asks for a warning only."""
