"""The errors of saving and loading."""

from purestate._core.errors import PurestateError


class CheckpointError(PurestateError, ValueError):
    """A tree cannot be saved, or a file cannot be loaded as requested."""


class CheckpointFileError(CheckpointError, OSError):
    """A file is damaged, or cannot be read or written."""


class CheckpointNotFoundError(CheckpointFileError, FileNotFoundError):
    """The file or folder does not exist."""
