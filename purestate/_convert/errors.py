"""The errors of converting."""

from purestate._core.errors import PurestateError, PurestateWarning


class ConversionError(PurestateError, ValueError):
    """Weights of another library do not fit the model, or cannot be converted."""


class UnverifiedWarning(PurestateWarning):
    """Weights were converted, and nothing compared the outputs of the two models."""
