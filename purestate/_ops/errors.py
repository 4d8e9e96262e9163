"""The error of operations."""

from purestate._core.errors import PurestateError


class OperationError(PurestateError, ValueError):
    """An interceptor of an operation called it, or answered for it, in a way that does not fit."""
