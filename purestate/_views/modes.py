"""Training or not: the argument of a function that says so, under whichever name it has."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from purestate._state.set_up_module import SetUpModule

MODE_ARGUMENTS = {
    "is_training": True,
    "training": True,
    "train": True,
    "inference_mode": False,
    "inference": False,
}
"""Arguments that say whether a call trains, and whether True means that it does."""


def with_mode(
    f: Callable[..., Any], training: bool | None, args: Any, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Returns `kwargs` with the mode argument of `f`, unless the caller already passes one."""
    found = None if training is None else mode_argument(f)
    if found is None:
        return kwargs
    name, position = found
    if name in kwargs or position < len(args):
        return kwargs
    return {**kwargs, name: training == MODE_ARGUMENTS[name]}


def mode_argument(f: Callable[..., Any]) -> tuple[str, float] | None:
    """Returns name and position of the mode argument of a function; None without one."""
    if isinstance(f, SetUpModule) and type(f).__call__ is SetUpModule.__call__:
        f = f.forward  # `__call__` passes its arguments on to it
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    for i, parameter in enumerate(parameters):
        if parameter.name in MODE_ARGUMENTS:
            return parameter.name, math.inf if parameter.kind == parameter.KEYWORD_ONLY else i
    return None
