"""The error for a missing flax."""

from purestate._core.errors import PurestateError


class FlaxNotInstalledError(PurestateError, ImportError):
    """flax is needed, and is not installed."""
