"""The errors of mixed precision."""

from purestate._core.errors import PurestateError


class PolicyError(PurestateError, ValueError, AssertionError):
    """An invalid policy, or a policy for a class or at a place that cannot have one."""


class LossScaleError(PurestateError, ValueError):
    """Invalid options of a loss scale, or a state that has none."""
