"""The errors of what needs flax."""

from purestate._core.errors import PurestateError


class FlaxNotInstalledError(PurestateError, ImportError):
    """Something that needs flax was asked for, and flax is not installed."""
