"""The error of mixed precision."""

from purestate._core.errors import PurestateError


class PolicyError(PurestateError, ValueError, AssertionError):
    """A policy that is none, or that is given to something, or somewhere, it cannot apply to."""
