"""The error of rules."""

from purestate._core.errors import PurestateError


class RuleError(PurestateError, ValueError):
    """A rule has no meaning, fits no module, or contradicts another one."""
