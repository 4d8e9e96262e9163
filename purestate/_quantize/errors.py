"""The error of quantization."""

from purestate._core.errors import PurestateError


class QuantizeError(PurestateError, ValueError):
    """An array, a model or its state that cannot be quantized as requested."""
