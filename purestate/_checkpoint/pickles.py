"""Reads the pickles of dm-haiku's users and runs nothing in them.

Nothing that a pickle names is imported. Each name that we know stands for a function of this file,
and arrays are built only after the pickle has been read.
"""

import os
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from purestate._checkpoint.atomic import as_path, reason
from purestate._checkpoint.encoding import to_jax
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Loads a pickle of params and state, as programs with dm-haiku save them.

    >>> import os, pickle, tempfile, numpy as np, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "params.pkl")
    >>> with open(path, "wb") as file:
    ...     pickle.dump({"linear": {"w": np.ones([2], np.float32)}}, file)
    >>> ps.checkpoint.load_pickle(path)
    {'linear': {'w': Array([1., 1.], dtype=float32)}}

    A pickle can run any program when it is loaded. This function reads only arrays of NumPy and
    JAX, numbers, texts, dicts, tuples and lists, and refuses everything else before it runs.
    dm-haiku's own dicts, FlatMapping and frozendict, become plain ones. Neither dm-haiku nor an old
    JAX need be installed.

    Args:
      path: the file.

    Returns:
      The saved tree, with arrays of JAX. An array that JAX cannot hold, such as float64 without
      `jax_enable_x64`, is one of NumPy.

    Raises:
      CheckpointError: something else than arrays, numbers, texts and containers is in the file.
      CheckpointFileError: the file is damaged, or cannot be read.
      CheckpointNotFoundError: the file does not exist.
    """
    target = as_path(path)
    try:
        with open(target, "rb") as file:
            reader = _Reader(file, str(target))
            return _plain(reader.load(), {}, reader.refuse)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError(
            f"The file {str(target)!r} does not exist. Check the path."
        ) from None
    except OSError as error:
        raise CheckpointFileError(f"{str(target)!r} cannot be read: {reason(error)}.") from error
    except Exception as error:  # pickle promises no class of error for other bytes
        raise CheckpointFileError(
            f"{str(target)!r} is damaged, or has other things than arrays:"
            f" {reason(error)}. Copy the file again."
        ) from error


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, path: str):
        super().__init__(file, encoding="latin1")  # as Python 2 wrote the bytes of arrays
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> "_Global":
        make = _maker(module_name, global_name)
        if make is None:
            self.refuse(f"{module_name}.{global_name}")
        return _Global(global_name, make)

    def persistent_load(self, pid: Any) -> NoReturn:
        self.refuse(f"a persistent object, {pid!r}")

    def refuse(self, what: str) -> NoReturn:
        raise CheckpointError(
            f"{self._path!r} has {what}, and load_pickle reads only arrays, numbers, texts, dicts,"
            " tuples and lists. If you trust the file, load it with pickle, make plain dicts of"
            " arrays of it, and save them with ps.checkpoint.save_safetensors."
        )


class _Standin:
    """Something in a pickle that is not yet an array; a pickle can change nothing in it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"{type(self).__name__.strip('_').lower()} has no state")


class _Global(_Standin):
    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Callable[..., Any]):
        self.name, self._make = name, make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)


class _DType(_Standin):
    __slots__ = ("_kind", "_order")

    def __init__(self, kind: Any):
        self._kind, self._order = kind.name if isinstance(kind, _Global) else str(kind), None

    def __setstate__(self, state: Any) -> None:
        self._order: Any = state[1] if state[1] in "<>" else None

    def real(self) -> np.dtype[Any]:
        dtype = np.dtype(getattr(ml_dtypes, self._kind, self._kind))
        if dtype.kind not in "biufcV" or dtype.hasobject or dtype.names is not None:
            raise ValueError(f"an array has dtype {self._kind}")
        return dtype.newbyteorder(self._order) if self._order else dtype


class _Array(_Standin):
    __slots__ = ("_state",)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, is_fortran, data = state
        self._state = (data, dtype, shape, "F" if is_fortran else "C")

    def real(self) -> np.ndarray:
        return _to_array(*self._state)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _to_array(data: Any, dtype: _DType, shape: tuple[int, ...], order: Any) -> np.ndarray:
    if any(size < 0 for size in shape):
        raise ValueError(f"an array has shape {shape}")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    flat = np.frombuffer(raw, dtype.real())
    native = flat.astype(flat.dtype.newbyteorder("="))
    return native.reshape(shape, order=order)


def _reconstruct_jax(make: Any, args: Any, state: Any, aval: Any) -> _Array:
    array = make(*args)
    array.__setstate__(state)
    return array


def _bytes(text: str = "", encoding: str = "") -> bytes:
    return text.encode("latin1")  # how protocols 0 to 2 write bytes


# The modules of each name, old and new: numpy's got an underscore in 2.0, JAX's and Haiku's moved.
_NUMPY = {
    "numpy",
    *("numpy.core.multiarray", "numpy._core.multiarray"),
    *("numpy.core.numeric", "numpy._core.numeric"),
}
_MAKERS: dict[str, tuple[Callable[[str], bool], Callable[..., Any]]] = {
    "ndarray": (_NUMPY.__contains__, lambda *args: _Array()),
    "_reconstruct": (_NUMPY.__contains__, lambda *args: _Array()),
    "_frombuffer": (_NUMPY.__contains__, _from_buffer),
    "scalar": (_NUMPY.__contains__, lambda dtype, data: _from_buffer(data, dtype, (), "C")),
    "dtype": (_NUMPY.__contains__, lambda kind, *args: _DType(kind)),
    "encode": (lambda module: module == "_codecs", _bytes),
    "bytes": (lambda module: module in ("builtins", "__builtin__"), _bytes),
    "OrderedDict": (lambda module: module == "collections", dict),
    "_reconstruct_array": (lambda module: module.startswith("jax."), _reconstruct_jax),
    "reconstruct_device_array": (lambda module: module.startswith("jax."), _reconstruct_jax),
    "FlatMapping": (lambda module: module.startswith("haiku."), dict),
    "FlatMap": (lambda module: module.startswith("haiku."), dict),
    "frozendict": (lambda module: module.startswith("haiku."), dict),
}


def _maker(module: str, name: str) -> Callable[..., Any] | None:
    if name in _MAKERS:
        known, make = _MAKERS[name]
        return make if known(module) else None
    is_dtype = isinstance(getattr(ml_dtypes, name, None), type)
    if is_dtype and module.partition(".")[0] in ("ml_dtypes", "jax", "jaxlib"):
        return lambda *args: args
    return None


def _plain(node: Any, arrays: dict[int, Any], refuse: Callable[[str], NoReturn]) -> Any:
    if isinstance(node, dict):
        return {key: _plain(child, arrays, refuse) for key, child in node.items()}
    if isinstance(node, (tuple, list)):
        return type(node)(_plain(child, arrays, refuse) for child in node)
    if isinstance(node, _Array):
        if id(node) not in arrays:
            arrays[id(node)] = to_jax(node.real())
        return arrays[id(node)]
    if node is None or isinstance(node, (bool, int, float, complex, str, bytes)):
        return node
    refuse(f"a {type(node).__name__.strip('_').lower()}")
