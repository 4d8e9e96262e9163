"""Arrays as safetensors can hold them, and back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from purestate._checkpoint.errors import CheckpointError
from purestate._core.errors import kind_of

# safetensors' code of each dtype. Other dtypes are stored as one of these, with a note.
_DTYPES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_CODES = {name: code for code, name in _DTYPES.items()}

# Dtypes of less than a byte: several elements to a byte, the first one in the lowest bits.
_BITS = {"int1": 1, "uint1": 1, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}

# ml_dtypes has these, and JAX has names for some, but XLA fails on them.
_NOT_IN_JAX = {"int1", "uint1", "float6_e2m3fn", "float6_e3m2fn"}


class Encoded(NamedTuple):
    """An array that safetensors can hold, and a note of what it stands for."""

    array: np.ndarray
    note: dict[str, Any] | None


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Returns a dtype by its name, also those that only JAX has; raises TypeError or ValueError."""
    return np.dtype(getattr(ml_dtypes, name, name))


def dtype_of_code(code: str) -> np.dtype[Any] | None:
    """Returns the dtype that safetensors calls by this code."""
    return numpy_dtype(_DTYPES[code]) if code in _DTYPES else None


def code_of(array: np.ndarray) -> str:
    """Returns safetensors' code of the dtype of an encoded array."""
    return _CODES[array.dtype.name]


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed random keys."""
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def encode(name: str, leaf: Any) -> Encoded:
    """Returns a leaf as an array that safetensors can write: C order and little endian.

    safetensors writes the buffer of an array as it is, so a transposed array would come back wrong.
    """
    if is_key(leaf):
        impl = str(jax.random.key_impl(leaf))
        return Encoded(_ordered(_to_numpy(name, jax.random.key_data(leaf))), {"key": impl})
    x = _to_numpy(name, leaf)
    kind = x.dtype.name
    if kind in _CODES:
        return Encoded(_ordered(x), None)
    if kind in _BITS:
        return Encoded(_pack(x), {"dtype": kind, "shape": list(x.shape)})
    if kind == "complex128":  # real and imaginary parts along one more axis
        return Encoded(_ordered(x)[..., None].view(np.float64), {"dtype": kind})
    if x.dtype.itemsize == 1 and hasattr(ml_dtypes, kind):
        return Encoded(_ordered(x).view(np.uint8), {"dtype": kind})
    raise CheckpointError(
        f"{name!r} has dtype {x.dtype}, which a safetensors file cannot hold. Convert it to"
        " numbers, or leave it out."
    )


def _to_numpy(name: str, leaf: Any) -> np.ndarray:
    is_number = isinstance(leaf, (bool, int, float, complex))
    if is_number or (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        try:
            if getattr(leaf, "is_fully_addressable", True):
                return np.asarray(leaf)
            raise CheckpointError(
                f"{name!r} is on the devices of several processes. Gather it with"
                " jax.experimental.multihost_utils.process_allgather and save it in one process, or"
                " use orbax."
            )
        except CheckpointError:
            raise
        except Exception as error:  # a tracer, a donated array, a spec
            reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
            raise CheckpointError(
                f"{name!r} has no values to save: {reason}. Save it outside of JAX transforms, and"
                " before it is donated."
            ) from error
    raise CheckpointError(
        f"{name!r} is {kind_of(leaf)}, and only arrays can be saved. Leave it out, or pass it as"
        " text in `metadata`."
    )


def _ordered(x: np.ndarray) -> np.ndarray:
    # `np.ascontiguousarray` would turn a scalar into an array of shape (1,).
    return np.asarray(x, dtype=x.dtype.newbyteorder("<"), order="C")


def _pack(x: np.ndarray) -> np.ndarray:
    bits = _BITS[x.dtype.name]
    per_byte = 8 // bits
    whole = x.ravel().view(np.uint8) if x.dtype.name.startswith("f") else x.ravel().astype(np.int8)
    raw = whole.view(np.uint8) & np.uint8((1 << bits) - 1)
    raw = np.append(raw, np.zeros(-raw.size % per_byte, np.uint8)).reshape(-1, per_byte)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(raw << shifts, axis=1).astype(np.uint8)


def _unpack(packed: np.ndarray, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    bits = _BITS[kind]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    raw = (packed[:, None] >> shifts).ravel() & np.uint8((1 << bits) - 1)
    raw = raw[: int(np.prod(shape, dtype=np.int64))].reshape(shape)
    if kind.startswith("f"):
        return raw.view(numpy_dtype(kind))
    if kind.startswith("i"):
        sign = np.int8(1 << (bits - 1))
        return ((raw.astype(np.int8) ^ sign) - sign).astype(numpy_dtype(kind))
    return raw.astype(numpy_dtype(kind))


def outline_of(shape: tuple[int, ...], dtype: Any, note: dict[str, Any] | None) -> Any:
    """Returns shape and dtype of what `decode` returns."""
    if note is None:
        return jax.ShapeDtypeStruct(shape, dtype)
    if "key" in note:
        return jax.eval_shape(
            lambda data: jax.random.wrap_key_data(data, impl=note["key"]),
            jax.ShapeDtypeStruct(shape, dtype),
        )
    if "shape" in note:
        shape = tuple(note["shape"])
    elif note["dtype"] == "complex128":
        shape = shape[:-1]
    return _Outline(shape, numpy_dtype(note["dtype"]))


class _Outline(NamedTuple):
    """`jax.ShapeDtypeStruct` of a dtype that JAX may lack."""

    shape: tuple[int, ...]
    dtype: Any


def decode(stored: np.ndarray, note: dict[str, Any] | None) -> Any:
    """Returns what an encoded array stands for."""
    if note is None:
        return stored
    if "key" in note:
        return jax.random.wrap_key_data(jnp.array(stored), impl=note["key"])
    if "shape" in note:
        return _unpack(stored, note["dtype"], tuple(note["shape"]))
    viewed = stored.view(numpy_dtype(note["dtype"]))
    return viewed[..., 0] if note["dtype"] == "complex128" else viewed


def to_jax(x: Any) -> Any:
    """Returns an array as one of JAX; as a copy in NumPy if JAX would change its dtype."""
    if isinstance(x, jax.Array):
        return x
    return jnp.array(x) if jax_can_hold(x.dtype) else np.array(x)


def jax_can_hold(dtype: Any) -> bool:
    """Whether an array of JAX can have this dtype."""
    if dtype.name in _NOT_IN_JAX:
        return False
    return jax.dtypes.canonicalize_dtype(dtype) == dtype
