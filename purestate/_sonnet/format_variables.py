"""`format_variables`: a table of variables as text."""

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from purestate._core.errors import MissingPackageError
from purestate._sonnet.variable import Variable

_HEADERS = ("Variable", "Spec", "Trainable", "Device")
_SHORT = {"float": "f", "complex": "c", "uint": "u", "int": "i"}


def format_variables(variables: Sequence[Variable], tablefmt: str = "orgtbl") -> str:
    """Returns a table of variables, sorted by module, and there those with most axes first.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> print(snt.format_variables([snt.Variable(jnp.zeros([2, 3]), name="w")]))
    | Variable   | Spec     | Trainable   | Device   |
    |------------+----------+-------------+----------|
    | w          | f32[2,3] | True        | CPU      |

    Args:
      variables: such as `module.variables`.
      tablefmt: a format of the package tabulate. Only "orgtbl" works without that package.

    Returns:
      The lines of the table.

    Raises:
      MissingPackageError: another format than "orgtbl", and tabulate is not installed.
    """
    rows = [
        (_full_name(variable), _spec(variable), str(variable.trainable), _device(variable))
        for variable in sorted(variables, key=_module_then_rank)
    ]
    if tablefmt == "orgtbl":
        return _org_table(rows)
    return _tabulate_package().tabulate(rows, headers=_HEADERS, tablefmt=tablefmt)


def log_variables(variables: Sequence[Variable]) -> None:
    """Logs a table of variables, line by line, with the logger "purestate.sonnet" as information.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.log_variables([snt.Variable(jnp.zeros([2, 3]), name="w")])

    Args:
      variables: such as `module.variables`.
    """
    logger = logging.getLogger("purestate.sonnet")
    for line in format_variables(variables).split("\n"):
        logger.info("%s", line)


def _full_name(variable: Variable) -> str:
    return variable.name.removesuffix(":0")


def _module_then_rank(variable: Variable) -> tuple[str, int, str]:
    return (variable.name.rpartition("/")[0], -variable.ndim, variable.name)


def _spec(variable: Variable) -> str:
    name = variable.dtype.name
    if name == "bfloat16":
        name = "bf16"
    for long, short in _SHORT.items():
        if name.startswith(long):
            name = short + name.removeprefix(long)
            break
    return f"{name}[{','.join(map(str, variable.shape))}]"


def _device(variable: Variable) -> str:
    try:
        devices = variable.value().devices()
    except jax.errors.ConcretizationTypeError:
        return "traced"
    return ", ".join(_device_name(each) for each in sorted(devices, key=lambda each: each.id))


def _device_name(device: Any) -> str:
    kind = device.platform.upper()
    return kind if device.id == 0 else f"{kind} {device.id}"


def _org_table(rows: Sequence[tuple[str, ...]]) -> str:
    # tabulate makes a column at least two wider than its header.
    least = [len(header) + 2 for header in _HEADERS]
    widths = np.max([least, *([len(cell) for cell in row] for row in rows)], axis=0)
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (_HEADERS, *rows)
    ]
    lines.insert(1, "|" + "+".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _tabulate_package() -> Any:
    try:
        return importlib.import_module("tabulate")
    except ImportError:
        raise MissingPackageError(
            "`snt.format_variables` draws other tables than 'orgtbl' with the package tabulate,"
            " which is not installed: `pip install tabulate`."
        ) from None
