"""The errors of views."""

from purestate._core.errors import PurestateError


class ViewError(PurestateError, ValueError, RuntimeError):
    """A model or optimizer was used in a way that would lose what it holds, or before it holds anything."""


class ViewTypeError(PurestateError, TypeError):
    """A model or optimizer was made of, or given, something that it cannot hold."""


class ViewAttributeError(PurestateError, AttributeError):
    """A model has no such attribute."""
