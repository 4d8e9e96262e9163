"""Telling in a few words what values are, and in which module something failed: never a dump of arrays."""

import contextlib
from collections.abc import Mapping
from typing import Any

import jax

from purestate._core.errors import PurestateError, kind_of


def outline(value: Any) -> str:
    """What a value is, in a few words: never a dump of arrays."""
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        shown = ", ".join(repr(key) for key in keys[:3]) + (", ..." if len(keys) > 3 else "")
        return (
            f"{kind_of(value)} with {len(keys)} entr{'y' if len(keys) == 1 else 'ies'} ({shown})"
            if keys
            else "an empty dict"
        )
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return kind_of(value)


def outline_tree(tree: Any) -> str:
    """A shape as "float32[5,3]"; for a tree of many, the first few."""
    leaves = jax.tree.leaves(tree)
    texts = [
        f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" if hasattr(leaf, "shape") else kind_of(leaf)
        for leaf in leaves[:3]
    ]
    if len(leaves) == 1:
        return texts[0]
    return (
        f"a tree of {len(leaves)} ({', '.join(texts)}{', ...' if len(leaves) > 3 else ''})"
        if leaves
        else "an empty tree"
    )


def _argument(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 20 else value[:20] + "...")
    return outline_tree(value)


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Arguments as in a call: `float32[2,3], True, rate=0.5`."""
    texts = [_argument(value) for value in args] + [f"{name}={_argument(value)}" for name, value in kwargs.items()]
    return ", ".join([*texts[:6], *(["..."] if len(texts) > 6 else [])])


_TOLD = "_told_by_purestate"


def tell_module(error: Exception, module: Any, method_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Has `error` name the innermost module that it came through, unless its own message does."""
    path = module._path
    if path is None or _TOLD in vars(error):
        return
    vars(error)[_TOLD] = True
    where = f"This came up in `{type(module).__name__}.{method_name}` of module {path!r}"
    if not isinstance(error, PurestateError):
        # Whatever fails here must not hide the error itself: one that refuses notes, values that cannot be shown.
        with contextlib.suppress(Exception):
            error.add_note(f"{where}, called with ({_arguments(args, kwargs)}).")
    elif f"'{path}'" not in str(error) and f"'{path}/" not in str(error):  # ours ends up in logs as its message alone
        error.args = (f"{error}\n{where}.", *error.args[1:])
