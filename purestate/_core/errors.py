"""The errors of the core, and the roots of all errors; `purestate/errors.py` draws the tree."""

from typing import Any


def kind_of(value: Any) -> str:
    """Returns what a message calls a wrong value: `None`, `the class Linear`, `a list`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


PUBLIC_MODULE = "purestate.errors"
"""The module of all errors for users, and so the one that tracebacks and pickles name."""


def _make_public(cls: type) -> None:
    if cls.__module__.startswith("purestate._"):  # and not a user's own subclass
        cls.__module__ = PUBLIC_MODULE


class PurestateError(Exception):
    """The root of all errors that purestate raises on purpose."""

    __module__ = PUBLIC_MODULE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _make_public(cls)


class FrameError(PurestateError, ValueError):
    """Something that needs a running transformed function was used outside one."""


class CallError(PurestateError):
    """JAX or Python failed on a value passed to purestate.

    It is also the builtin error that they raised. It has their message, and the module and line of
    the call.
    """

    __str__ = Exception.__str__  # KeyError would show the `repr` of the message

    def __reduce__(self) -> Any:
        if type(self) is CallError:
            return CallError, (str(self),)
        return _call_error, (type(self).__bases__[1], str(self))


def call_error_class(kind: type[Exception]) -> type[CallError]:
    """Makes the class that is both a `CallError` and another error."""
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
"""The class for each builtin error. Other errors are raised as they are."""


def _call_error(kind: type[Exception], message: str) -> CallError:
    return CALL_ERRORS[kind](message)


class ArgumentError(PurestateError, TypeError):
    """An argument of `init` or `apply` is of the wrong kind, or in the wrong place."""


class ModuleError(PurestateError, ValueError):
    """A module was constructed in the wrong way, or in the wrong place."""


class ModuleNameError(ModuleError):
    """A module name is not a Python identifier, or is already taken."""


class VariableError(PurestateError, ValueError):
    """A parameter or state cannot be made, read or written as requested."""


class MissingParameterError(VariableError):
    """The params passed to `apply` lack a parameter."""


class MissingStateError(VariableError):
    """A state was read that does not exist, without a way to make it."""


class MissingInitializerError(VariableError):
    """A variable needs an initializer to be made, and got none."""


class ShapeMismatchError(VariableError):
    """An array has another shape than requested."""


class DtypeMismatchError(VariableError):
    """One run requested a parameter with two kinds of dtype: float, integer, bool, complex."""


class CollectionError(VariableError):
    """A variable is in another collection, or a collection cannot hold it."""


class ImmutableCollectionError(CollectionError):
    """A variable was written in a collection that is not mutable."""


class CheckError(PurestateError, ValueError):
    """The arguments of `apply` do not fit its function; the message has all problems.

    Attributes:
      problems: one `Problem` for each variable that is wrong.
    """

    def __init__(self, message: str, problems: tuple[Any, ...] = ()):
        super().__init__(message)
        self.problems = problems

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.problems)


class StaleStateError(PurestateError, ValueError):
    """`apply` got state that an earlier `apply` has replaced."""


class VariableTypeError(PurestateError, TypeError, ValueError):
    """The value of a variable is not an array, or its name is not a string."""


class NonEmptyStateError(PurestateError, ValueError):
    """The function makes state, and its transform has no place for state."""


class MissingRNGError(PurestateError, ValueError):
    """The function needs a random key, and `init` or `apply` got none."""


class InvalidRNGError(PurestateError, ValueError):
    """The given value is not a random key, or the number of keys is invalid."""

    hint = ""


class JaxUsageError(PurestateError, ValueError):
    """A side effect happened inside a plain JAX transform, and its result would be lost or leak."""


class MappingError(PurestateError, ValueError):
    """`vmap` cannot tell the size of the mapped axis, or its arguments disagree on it."""


class BatchedStateError(MappingError):
    """A value written under `vmap` differs between mapped elements, and nothing combines them."""


class CollectionModeError(MappingError):
    """The mode of a collection under `vmap`, `scan` or `shard_map` is not one, or does not fit."""


class LiftError(PurestateError, ValueError):
    """A lifted function has variables of a name that is taken, or its state is dropped."""


class BranchError(PurestateError, ValueError):
    """`cond` or `switch` got its operands in two ways at once."""


class CustomRuleError(PurestateError, ValueError, TypeError):
    """The rule of a `custom_vjp` or `custom_jvp` does not fit its function."""


class LoopError(PurestateError, ValueError):
    """A loop does what a loop of JAX cannot do."""


class NewVariableError(LoopError, AssertionError):
    """A loop body made a variable that its first step did not make."""


class ConfigError(PurestateError, ValueError):
    """A setting has an invalid value."""


class ConditionError(PurestateError, RuntimeError):
    """The condition of a `ps.error_if` is true."""


class RetraceError(PurestateError, AssertionError):
    """JAX traced a function more often than was allowed."""


class MissingPackageError(PurestateError, ImportError):
    """A package that only this function needs is not installed."""


class PurestateWarning(UserWarning):
    """The root of all warnings of purestate."""

    __module__ = PUBLIC_MODULE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _make_public(cls)


class SharedKeyWarning(PurestateWarning):
    """A random key was drawn inside a plain `jax.vmap`: all mapped elements share it."""


class EmptyStateWarning(PurestateWarning):
    """`apply` got an empty state, and re-initialized what it needed."""


class JaxUsageWarning(PurestateWarning):
    """A `JaxUsageError` that `ps.config` turned into a warning."""


class StaleStateWarning(PurestateWarning):
    """A `StaleStateError` that `ps.config` made a warning of."""
