"""The errors of views."""

from purestate._core.errors import PurestateError


class ViewError(PurestateError, ValueError, RuntimeError):
    """A model or optimizer and the arrays for it do not fit, or its state would be lost."""


class ViewTypeError(PurestateError, TypeError):
    """A model or optimizer was made of something that it cannot hold."""


class ViewAttributeError(PurestateError, AttributeError):
    """A model has no attribute of that name."""
