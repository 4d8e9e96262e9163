"""Tracebacks without our own frames, as JAX shows them without its own."""

import os
from types import TracebackType

import jax

_FOLDER = os.path.dirname(os.path.dirname(__file__)) + os.sep


def without_our_frames(error: BaseException) -> BaseException:
    """Takes the frames of purestate out of an error's traceback, and returns the error.

    The frames of the user's functions stay. `jax_traceback_filtering` set to "off" keeps all.

    Args:
      error: an error that leaves `init` or `apply`.

    Returns:
      The same error.
    """
    if getattr(jax.config, "jax_traceback_filtering", None) == "off":
        return error
    kept: list[TracebackType] = []
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_FOLDER):
            kept.append(traceback)
        traceback = traceback.tb_next
    shown: TracebackType | None = None
    for traceback in reversed(kept):
        shown = TracebackType(shown, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
    return error.with_traceback(shown)
