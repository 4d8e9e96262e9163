"""Quantized weights and activations: smaller models, and products of few bits."""

from purestate._quantize.array import QuantizedArray, quantize_array
from purestate._quantize.calibration import calibrate
from purestate._quantize.fp8 import fp8_training
from purestate._quantize.qwix import qwix
from purestate._quantize.serving import serving
from purestate._quantize.weights import bytes_of, weights

__all__ = [
    "QuantizedArray",
    "bytes_of",
    "calibrate",
    "fp8_training",
    "quantize_array",
    "qwix",
    "serving",
    "weights",
]
