"""The errors of saving and loading."""

from typing import Any

from purestate._core.errors import PurestateError


class CheckpointError(PurestateError, ValueError):
    """A tree cannot be saved, or a file cannot be loaded as requested."""


class CheckpointFileError(CheckpointError, OSError):
    """A file is damaged, or cannot be read or written."""


class CheckpointNotFoundError(CheckpointFileError, FileNotFoundError):
    """The file or folder does not exist."""


class CheckpointMismatchError(CheckpointError):
    """A file and the model do not have the same variables; the message has all problems.

    Attributes:
      report: the `LoadReport`.
    """

    def __init__(self, message: str, report: Any = None):
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.report)
