"""One file for program and weights: a zip archive, which `numpy.load` can also read.

It needs nothing of purestate: `docs/export.md` has a loader that imports only JAX and NumPy. A zip
archive has a checksum for each member, and `ZipFile.read` compares it.
"""

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._checkpoint.atomic import as_path, reason, write_atomically
from purestate._checkpoint.errors import CheckpointFileError, CheckpointNotFoundError
from purestate._core.errors import MissingPackageError
from purestate._export.errors import ExportError
from purestate._export.exported_model import ExportedModel
from purestate._export.named_tuples import register_by_name, register_named_tuples

_VERSION = 1


def write_exported(path: str | os.PathLike[str], model: ExportedModel, vjp_order: int) -> None:
    """Writes program and weights atomically."""
    leaves = jax.tree.leaves_with_path({"params": model.params, "state": model.state})
    arrays = {f"weights/{i}/{_text(path)}.npy": leaf for i, (path, leaf) in enumerate(leaves)}
    manifest = {
        "version": _VERSION,
        "jax": jax.__version__,
        "namedtuples": register_named_tuples(model.exported.in_tree, model.exported.out_tree),
        "weights": {name: _key_impl(leaf) for name, leaf in arrays.items()},
    }
    program = _serialized(model.exported, vjp_order)

    def fill(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as file:
            file.writestr("manifest.json", json.dumps(manifest, indent=1))
            file.writestr("program.bin", program)
            for name, leaf in arrays.items():
                array = jax.random.key_data(leaf) if _key_impl(leaf) else leaf
                with file.open(name, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    write_atomically(as_path(path), fill)


def load_exported(path: str | os.PathLike[str]) -> ExportedModel:
    """Loads a program with its weights that `export` has written.

    >>> import os, tempfile, jax.numpy as jnp, purestate as ps
    >>> path = os.path.join(tempfile.mkdtemp(), "model.zip")
    >>> f = ps.transform(lambda x: ps.nets.MLP([8, 2])(x))
    >>> params = f.init(0, jnp.ones([1, 3]))
    >>> model = ps.export(f, params, None, "float32[b, 3]", path=path)
    >>> ps.load_exported(path)(jnp.ones([5, 3])).shape
    (5, 2)

    The file has no code of Python, and to load it runs none. A NamedTuple in it is its own class if
    that is imported already, and otherwise one with the same name and fields.

    Args:
      path: the file.

    Returns:
      The program with its weights.

    Raises:
      CheckpointNotFoundError: the file does not exist.
      CheckpointFileError: the file is damaged or not one of these, or JAX is too old or too new
        for its program.
      MissingPackageError: the package flatbuffers is not installed.
    """
    target = as_path(path)
    manifest, program, arrays = _read(target)
    for name, fields in manifest["namedtuples"].items():
        register_by_name(name, tuple(fields))
    try:
        with _flatbuffers():
            exported = jax.export.deserialize(bytearray(program))
    except MissingPackageError:
        raise
    except Exception as error:  # JAX raises errors of many classes
        raise CheckpointFileError(
            f"JAX {jax.__version__} cannot load the program in {str(target)!r}, which JAX"
            f" {manifest['jax']} exported: {error}"
        ) from error
    keys = manifest["weights"].values()
    leaves: list[Any] = [
        jax.random.wrap_key_data(jnp.asarray(x), impl=impl)
        if impl
        else jnp.asarray(x.view(aval.dtype))
        for x, impl, aval in zip(arrays, keys, exported.in_avals, strict=False)
    ]
    leaves += [None] * (len(exported.in_avals) - len(leaves))  # in the place of rng and inputs
    (params, state, *_), _ = jax.tree.unflatten(exported.in_tree, leaves)
    return ExportedModel(exported, params, state)


def _read(path: Path) -> tuple[dict[str, Any], bytes, list[np.ndarray]]:
    """Returns all members of a file."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("manifest.json"))
            if manifest["version"] > _VERSION:
                raise CheckpointFileError(
                    f"{str(path)!r} was written by a newer version of purestate. Install that one:"
                    " `pip install --upgrade purestate`."
                )
            arrays = [np.load(io.BytesIO(file.read(name))) for name in manifest["weights"]]
            return manifest, file.read("program.bin"), arrays
    except CheckpointFileError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError(
            f"The file {str(path)!r} does not exist. Check the path."
        ) from None
    except OSError as error:
        raise CheckpointFileError(f"{str(path)!r} cannot be read: {reason(error)}.") from error
    except Exception as error:  # zipfile raises errors of many classes if a header is damaged
        raise CheckpointFileError(
            f"{str(path)!r} is damaged, or not a file of `ps.export`: {reason(error)}. Copy the"
            " file again, or export again."
        ) from error


def _serialized(exported: jax.export.Exported, vjp_order: int) -> bytes:
    try:
        with _flatbuffers():
            return bytes(exported.serialize(vjp_order=vjp_order))
    except ValueError as error:
        what = str(error).rstrip(".")
        raise ExportError(
            f"The program of {exported.fun_name!r} cannot be written: {what}. Use dicts, lists,"
            " tuples and NamedTuples as its inputs and outputs, or register the class:"
            " jax.export.register_pytree_node_serialization."
        ) from error


@contextlib.contextmanager
def _flatbuffers() -> Generator[None]:
    try:
        yield
    except ImportError:
        raise MissingPackageError(
            "JAX writes and reads programs with the package flatbuffers, which is not installed:"
            " `pip install purestate[export]`."
        ) from None


def _text(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _key_impl(leaf: Any) -> str | None:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return str(jax.random.key_impl(leaf)) if is_key else None
