"""The steps of a training run in a folder, with orbax. The only file that imports it."""

import importlib
import json
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from purestate._checkpoint.atomic import reason
from purestate._checkpoint.encoding import Encoded, code_of, decode, dtype_of_code, outline_of
from purestate._checkpoint.errors import CheckpointError, CheckpointFileError
from purestate._checkpoint.tensor_file import checksum
from purestate._core.errors import MissingPackageError

# Each step has two items. orbax commits both in one step, when both are complete.
_ARRAYS = "arrays"  # `{name: array}`, names as in a safetensors file
_NOTES = "notes"  # what each array is, its checksum, and the metrics
_VERSION = 1

# orbax moves old steps there in one step, and we delete them. A program killed while it deletes a
# step in place would leave half of it, which looks like a damaged one.
_DELETED = ".deleted"


def orbax_package() -> Any:
    """Imports orbax, which is an extra."""
    try:
        return importlib.import_module("orbax.checkpoint")
    except ImportError:
        raise MissingPackageError(
            "`ps.checkpoint.Checkpointer` needs the package orbax-checkpoint, which is not"
            " installed: `pip install purestate[orbax]`."
        ) from None


class OrbaxSteps:
    """All steps in one folder."""

    def __init__(
        self, folder: Path, kept: Callable[[Sequence[int]], set[int]], background: bool
    ) -> None:
        self.folder = folder
        self._orbax = orbax_package()
        options = self._orbax.CheckpointManagerOptions(
            preservation_policy=_Policy(kept),
            enable_async_checkpointing=background,
            # Otherwise orbax's threads wait five minutes for a folder that could not be made, and
            # the program cannot end.
            async_options=self._orbax.AsyncOptions(create_directories_asynchronously=False),
            lightweight_initialize=True,
            todelete_subdir=_DELETED,
        )
        self._has_written = False
        try:
            self._manager: Any = self._orbax.CheckpointManager(folder, options=options)
        except OSError as error:
            raise CheckpointFileError(
                f"The folder {str(folder)!r} cannot be used: {reason(error)}."
            ) from error

    def all(self) -> list[int]:
        """Returns the steps that are on the disk, after waiting for the one being saved."""
        self.wait()
        self._live().reload()
        return sorted(self._live().all_steps())

    def write(
        self, step: int, encoded: Mapping[str, Encoded], metrics: Mapping[str, float]
    ) -> None:
        """Starts to save a step, after `all`. The arrays are copied before this returns."""
        self._has_written = True
        self._remove_deleted()
        arrays = {name: np.array(x) for name, (x, _) in encoded.items()}
        notes = {
            "version": _VERSION,
            "arrays": {
                name: [code_of(x), x.shape, checksum(name, code_of(x), x.shape, x)]
                for name, x in arrays.items()
            },
            "stored": {name: note for name, (_, note) in encoded.items() if note is not None},
            "metrics": dict(metrics),
        }
        text = json.dumps(notes, ensure_ascii=False)
        args = self._orbax.args.Composite(
            **{
                # orbax refuses arrays without elements; the notes say all of them.
                _ARRAYS: self._orbax.args.PyTreeSave({k: x for k, x in arrays.items() if x.size}),
                _NOTES: self._orbax.args.JsonSave({"crc32": zlib.crc32(text.encode()), "of": text}),
            }
        )
        self._guarded(lambda manager: manager.save(step, args=args, force=True))

    def wait(self) -> None:
        """Waits until the step being saved is on the disk."""
        self._guarded(lambda manager: manager.wait_until_finished())

    def delete(self, step: int) -> None:
        """Deletes a step."""
        self._remove_deleted()
        self._guarded(lambda manager: manager.delete(step))
        self._remove_deleted()

    def close(self) -> None:
        """Waits, and ends the threads of orbax."""
        try:
            if self._manager is not None:
                self._guarded(lambda manager: manager.close())
        finally:
            self._manager = None
            if self._has_written:  # or another process may be deleting it
                self._remove_deleted()

    def _remove_deleted(self) -> None:
        shutil.rmtree(self.folder / _DELETED, ignore_errors=True)

    def _live(self) -> Any:
        if self._manager is None:  # orbax would say that it has saved, and save nothing
            raise CheckpointError(
                f"The Checkpointer of {str(self.folder)!r} is closed. Move this call into its"
                " `with` block, or make another one."
            )
        return self._manager

    def _guarded(self, action: Callable[[Any], Any]) -> None:
        manager = self._live()
        try:
            action(manager)
        except Exception as error:  # of any class, from a thread of orbax
            raise CheckpointFileError(
                f"A step could not be saved or deleted in {str(self.folder)!r}: {reason(error)}."
                " The steps saved before stay."
            ) from error

    def open(self, step: int) -> "StepFile":
        """Returns one step, to read it."""
        return StepFile(self.folder / str(step), lambda item: self._read(step, item))

    def _read(self, step: int, item: str) -> Any:
        args = self._orbax.args
        restore = args.PyTreeRestore() if item == _ARRAYS else args.JsonRestore()
        return self._live().restore(step, args=args.Composite(**{item: restore}))[item]


class StepFile:
    """One step: its arrays and its metrics, each checked when it is read."""

    def __init__(self, path: Path, read_item: Callable[[str], Any]):
        self.path = path
        self._read_item = read_item
        self._notes = self._checked_notes()
        self._arrays: Any = None
        self.metrics: dict[str, float] = self._notes["metrics"]

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in the order in which they were saved."""
        return list(self._notes["arrays"])

    def outline(self, name: str) -> Any:
        """Returns shape and dtype of an array, without reading it."""
        code, shape, _ = self._notes["arrays"][name]
        return outline_of(tuple(shape), dtype_of_code(code), self._notes["stored"].get(name))

    def read(self, name: str, *, check: bool = True) -> Any:
        """Returns an array, or random keys. `check` is for files that can be read in parts."""
        del check
        code, shape, expected = self._notes["arrays"][name]
        dtype, shape = dtype_of_code(code), tuple(shape)
        x: Any = np.zeros(shape, dtype) if 0 in shape else self._all_arrays().get(name)
        same_kind = isinstance(x, np.ndarray) and (x.dtype, x.shape) == (dtype, shape)
        if not same_kind or checksum(name, code, shape, np.ascontiguousarray(x)) != expected:
            raise self._damaged(f"The bytes of {name!r} have changed since they were saved")
        return decode(x, self._notes["stored"].get(name))

    def _all_arrays(self) -> Any:
        if self._arrays is None:
            self._arrays = self._item(_ARRAYS)
        return self._arrays

    def _checked_notes(self) -> dict[str, Any]:
        outer = self._item(_NOTES)
        try:
            text, expected = outer["of"], outer["crc32"]
            intact = zlib.crc32(text.encode()) == expected
        except (KeyError, TypeError, AttributeError, UnicodeError):
            intact, text = False, ""
        if not intact:
            raise self._damaged("Its notes have changed since they were saved")
        notes = json.loads(text)
        if notes["version"] > _VERSION:
            raise CheckpointError(  # not a CheckpointFileError, which is for damage
                f"{str(self.path)!r} was saved by a newer version of purestate. Install that one:"
                " `pip install --upgrade purestate`."
            )
        return notes

    def _item(self, item: str) -> Any:
        try:
            return self._read_item(item)
        except Exception as error:  # of any class: orbax parses what may be anything
            first = str(error).partition("\n")[0][:200].rstrip(". ")
            raise self._damaged(
                f"orbax cannot read its {item}: {type(error).__name__}: {first}"
            ) from error

    def _damaged(self, what: str) -> CheckpointFileError:
        return CheckpointFileError(f"{str(self.path)!r} is damaged. {what}.")


class _Policy:
    """orbax's `PreservationPolicy`: asks which steps to keep, and never sees our metrics."""

    def __init__(self, kept: Callable[[Sequence[int]], set[int]]):
        self._kept = kept

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        kept = self._kept([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]
