"""The error of mixed precision."""

from purestate._core.errors import PurestateError


class PolicyError(PurestateError, ValueError, AssertionError):
    """An invalid policy, or a policy for a class or at a place that cannot have one."""
