"""The error of layers that are set up or called in a way that has no meaning."""

from purestate._core.errors import PurestateError


class LayerError(PurestateError, ValueError):
    """A layer was given options or an input that do not fit."""
