"""The error of exported functions."""

from purestate._core.errors import PurestateError


class ExportError(PurestateError, ValueError):
    """A function cannot be exported as requested, or an exported one gets other inputs."""
