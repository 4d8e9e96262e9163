"""The errors about variables in the wrong place."""

from typing import Any

from purestate._core.errors import JaxUsageError, ShapeMismatchError
from purestate._core.frame import Frame
from purestate._core.path import ROOT
from purestate._sonnet.errors import WrongFrameError
from purestate._sonnet.outside import OUTSIDE


def wrong_frame(
    home: Frame, frame: Frame, name: str, place: tuple[str, str, str]
) -> WrongFrameError:
    """The error for a variable of one run that is used in another."""
    if home is OUTSIDE.frame:
        return WrongFrameError(
            f"The variable {name!r} was created outside a transformed function, and is"
            " used inside one, whose params it is not part of. Create its module inside the"
            " function, or transform the function with `snt.functional.transform_with_state`,"
            " which takes modules from outside."
        )
    collection, module, own_name = place
    used = "outside of it" if frame is OUTSIDE.frame else "in another run"
    return WrongFrameError(
        f"The variable {name!r} was created in one run of init or apply, and is used {used}. Take"
        f" its value from what that run returned: {collection}[{module or ROOT!r}][{own_name!r}]."
    )


def used_in_compiled(name: str) -> JaxUsageError:
    """The error for a variable from outside in a compiled function."""
    return JaxUsageError(
        f"The variable {name!r} lives outside, and is used inside jax.jit or another JAX"
        " transform that compiles. Its present value would become a constant there, and a new value"
        " would never be seen. Use `snt.function` in place of jax.jit, which passes variables in"
        " and out, and inside it ps.scan, ps.remat, ps.cond and so on in place of those of JAX."
    )


def check_given_shape(variable: Any, value: Any) -> None:
    """Raises if `apply` was given a variable in another shape than its module creates."""
    if tuple(value.shape) != variable.shape:
        raise ShapeMismatchError(
            f"The variable {variable.name!r} is created with the shape {list(variable.shape)}, but"
            f" `apply` was given it with the shape {list(value.shape)}. Pass inputs of the shape"
            " that `init` had, or the state of an `init` with inputs of this shape."
        )
