"""`port_source`: what programs call. libcst is imported here, at the first use."""

import importlib

from purestate._core.errors import ArgumentError, MissingPackageError
from purestate._port.detect import SOURCES
from purestate._port.findings import PortResult


def port_source(text: str, source: str = "haiku") -> PortResult:
    r"""Rewrites a program of Haiku, or of Sonnet and TensorFlow, for purestate.

    What the tool does not know stays as it is, and is listed in `remaining`. Formatting and
    comments stay too. Porting the result again changes nothing.

    >>> from purestate.port import port_source
    >>> result = port_source("import haiku as hk, jax\nhalves = jax.tree_map(f, params)\n")
    >>> print(result.text, end="")
    import purestate as hk, jax
    halves = jax.tree.map(f, params)
    >>> result.remaining
    ()

    Args:
      text: the program.
      source: "haiku" or "sonnet".

    Returns:
      A `PortResult`: the new text, the rest for you and remarks, each with its line.

    Raises:
      MissingPackageError: libcst is not installed.
      ArgumentError: `source` is neither "haiku" nor "sonnet".
    """
    if source not in SOURCES:
        raise ArgumentError(
            f"`port_source` reads programs of 'haiku' and 'sonnet', and got source={source!r}."
        )
    require_libcst()
    from purestate._port.porting import port_text

    return port_text(text, source)


def require_libcst() -> None:
    """Raises an error that says how to install libcst, if it is missing."""
    try:
        importlib.import_module("libcst")
    except ImportError:
        raise MissingPackageError(
            "`purestate.port` reads programs with the package libcst, which is not installed:"
            " `pip install purestate[port]`."
        ) from None
