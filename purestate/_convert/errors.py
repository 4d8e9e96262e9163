"""The errors of converting."""

from purestate._core.errors import PurestateError, PurestateWarning


class ConversionError(PurestateError, ValueError):
    """Weights of another library do not fit the model, or cannot be converted."""


class UnverifiedWarning(PurestateWarning):
    """Weights of another library were taken over, and nothing shows that each is in its place.

    They were converted, and nothing compared the outputs of the two models. Or equal modules of a
    checkpoint of Sonnet were matched in the order of their attributes.
    """
