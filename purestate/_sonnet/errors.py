"""The errors of `purestate.sonnet`: of the builtin class that Sonnet raises."""

from purestate._core.errors import ArgumentError, MissingStateError, ModuleError, PurestateError


class SonnetValueError(PurestateError, ValueError):
    """A value, shape or combination of arguments that Sonnet refuses as well."""


class SonnetTypeError(ArgumentError):
    """An argument of a type that Sonnet refuses as well."""


class SonnetIndexError(PurestateError, IndexError):
    """Fewer elements than Sonnet asks for."""


class SonnetAttributeError(PurestateError, AttributeError):
    """An attribute that a module does not have yet."""


class NoVariablesError(ModuleError):
    """The variables of a module were requested before it created any."""


class WrongFrameError(MissingStateError):
    """A variable was used in another run than the one that created it."""
