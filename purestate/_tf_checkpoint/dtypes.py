"""The numbers that TensorFlow has for dtypes."""

import ml_dtypes
import numpy as np

STRING = 7

_NUMPY: dict[int, np.dtype] = {
    number: np.dtype(dtype)
    for number, dtype in {
        1: np.float32,
        2: np.float64,
        3: np.int32,
        4: np.uint8,
        5: np.int16,
        6: np.int8,
        8: np.complex64,
        9: np.int64,
        10: np.bool_,
        11: np.int8,  # quantized
        12: np.uint8,  # quantized
        13: np.int32,  # quantized
        14: ml_dtypes.bfloat16,
        15: np.int16,  # quantized
        16: np.uint16,  # quantized
        17: np.uint16,
        18: np.complex128,
        19: np.float16,
        22: np.uint32,
        23: np.uint64,
        24: ml_dtypes.float8_e5m2,
        25: ml_dtypes.float8_e4m3fn,
        26: ml_dtypes.float8_e4m3fnuz,
        27: ml_dtypes.float8_e4m3b11fnuz,
        28: ml_dtypes.float8_e5m2fnuz,
    }.items()
}

_NUMBERS = {dtype: number for number, dtype in reversed(_NUMPY.items())}  # not the quantized ones
_OTHERS = {20: "resource", 21: "variant", 29: "int4", 30: "uint4", 31: "int2", 32: "uint2"}


def numpy_dtype(number: int) -> np.dtype | None:
    """Returns the dtype of NumPy, or None for texts and what NumPy has no dtype for."""
    return _NUMPY.get(number)


def dtype_number(dtype: np.dtype) -> int | None:
    """Returns the number of a dtype of NumPy, or None if TensorFlow does not have it."""
    return _NUMBERS.get(dtype)


def dtype_name(number: int) -> str:
    """Returns what a message calls a dtype that has none in NumPy."""
    return _OTHERS.get(number, f"number {number}")
