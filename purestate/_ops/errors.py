"""The error and the warning of operations."""

from purestate._core.errors import PurestateError, PurestateWarning


class OperationError(PurestateError, ValueError):
    """An interceptor of an operation called it, or answered for it, in a way that does not fit."""


class AttentionFallbackWarning(PurestateWarning):
    """A kernel for attention does not support a call, so that XLA's products compute it."""
