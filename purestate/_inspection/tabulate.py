"""A table of the modules of a function."""

import importlib
import pprint
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, overload

from purestate._core.errors import MissingPackageError, PurestateError
from purestate._core.pairs import Transformed, TransformedWithState
from purestate._editing.array_format import format_array, format_bytes
from purestate._editing.sizes import tree_bytes, tree_size
from purestate._inspection.summary import ArraySpec, MethodInvocation, ModuleDetails, eval_summary

if TYPE_CHECKING:
    from purestate._core.pairs import Init, InitWithState

P = ParamSpec("P")


class TableError(PurestateError, ValueError):
    """An unknown column or filter."""


class _Column(NamedTuple):
    header: str
    text_of: Callable[[MethodInvocation], str]
    align: str = "left"


def _owned_params(details: ModuleDetails) -> dict[str, ArraySpec]:
    """Returns the module's own parameters, by their names in it."""
    prefix = details.module.module_name + "/"
    names = {
        full_name: full_name.removeprefix(prefix)
        for full_name in details.params
        if full_name.startswith(prefix)
    }
    return {name: details.params[full_name] for full_name, name in names.items() if "/" not in name}


def _format_owned_params(call: MethodInvocation) -> str:
    params = _owned_params(call.module_details).items()
    return "\n".join(
        f"{name}: {format_array(spec)}"
        for name, spec in sorted(params, key=lambda item: (-item[1].size, item[0]))
    )


def _format_input(call: MethodInvocation) -> str:
    lines = [", ".join(pprint.pformat(arg) for arg in call.args_spec)]
    if call.kwargs_spec:
        lines.append(
            ", ".join(f"{name}={pprint.pformat(arg)}" for name, arg in call.kwargs_spec.items())
        )
    return "\n".join(lines)


def _format_scope(details: ModuleDetails) -> str:
    method = "" if details.method_name == "__call__" else f".{details.method_name}"
    return f"{details.module.module_name} ({type(details.module).__name__}{method})"


_COLUMNS = {
    "module": _Column(
        "Module", lambda call: "\n └ ".join(_format_scope(details) for details in call.call_stack)
    ),
    "config": _Column("Config", lambda call: repr(call.module_details.module)),
    "owned_params": _Column("Module params", _format_owned_params),
    "input": _Column("Input", _format_input),
    "output": _Column("Output", lambda call: pprint.pformat(call.output_spec)),
    "params_size": _Column(
        "Param count", lambda call: f"{tree_size(call.module_details.params):,}", "right"
    ),
    "params_bytes": _Column(
        "Param bytes", lambda call: format_bytes(tree_bytes(call.module_details.params)), "right"
    ),
}
_FILTERS: dict[str, Callable[[MethodInvocation], bool]] = {
    "has_output": lambda call: call.output_spec is not None,
    "has_params": lambda call: bool(call.module_details.params),
}

DEFAULT_COLUMNS = (
    "module",
    "config",
    "owned_params",
    "input",
    "output",
    "params_size",
    "params_bytes",
)
DEFAULT_FILTERS = ("has_output",)
_GRID = {"tablefmt": "grid"}


def _chosen(kind: str, names: Sequence[str], known: Mapping[str, Any]) -> list[Any]:
    wrong = [name for name in names if name not in known]
    if wrong:
        raise TableError(
            f"tabulate has no {kind} {', '.join(map(repr, wrong))}. It has"
            f" {', '.join(map(repr, known))}."
        )
    return [known[name] for name in names]


def _tabulate_package() -> Any:
    try:
        return importlib.import_module("tabulate")
    except ImportError:
        raise MissingPackageError(
            "`ps.experimental.tabulate` draws its table with the package tabulate, which is not"
            " installed: `pip install tabulate`. `ps.experimental.eval_summary` returns the same"
            " information without it."
        ) from None


def rows_of(
    calls: Sequence[MethodInvocation], columns: Sequence[str], filters: Sequence[str]
) -> list[list[str]]:
    """Returns the cells of the table of `calls`, without headers."""
    kept = _chosen("filter", filters, _FILTERS)
    shown = _chosen("column", columns, _COLUMNS)
    return [
        [column.text_of(call) for column in shown]
        for call in calls
        if all(keep(call) for keep in kept)
    ]


@overload
def tabulate(
    f: "Transformed[Init[P], Any] | TransformedWithState[InitWithState[P], Any]",
    *,
    columns: "Sequence[str] | None" = ...,
    filters: "Sequence[str] | None" = ...,
    tabulate_kwargs: "Mapping[str, Any]" = ...,
) -> "Callable[P, str]": ...
@overload
def tabulate(
    f: "Callable[..., Any]",
    *,
    columns: "Sequence[str] | None" = ...,
    filters: "Sequence[str] | None" = ...,
    tabulate_kwargs: "Mapping[str, Any]" = ...,
) -> "Callable[..., str]": ...
def tabulate(
    f: Any,
    *,
    columns: Sequence[str] | None = DEFAULT_COLUMNS,
    filters: Sequence[str] | None = DEFAULT_FILTERS,
    tabulate_kwargs: Mapping[str, Any] = _GRID,
) -> Callable[..., str]:
    """Returns a function that draws a table of the modules of `f`. It computes nothing.

    It needs the package tabulate.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f(x, is_training):
    ...     return ps.Linear(2)(x)
    >>> draw = ps.experimental.tabulate(f, columns=["module", "output", "params_size"])
    >>> print(draw(jnp.ones([4, 3]), True))
    +-----------------+----------+---------------+
    | Module          | Output   |   Param count |
    +=================+==========+===============+
    | linear (Linear) | f32[4,2] |             8 |
    +-----------------+----------+---------------+

    Args:
      f: a function that uses modules; or what `transform` or `transform_with_state` returned for
        it, or one half of that.
      columns: which columns, of "module", "config", "owned_params", "input", "output",
        "params_size" and "params_bytes"; None for all.
      filters: which calls, of "has_output" (returned something) and "has_params"; None for
        `("has_output",)`.
      tabulate_kwargs: keyword arguments of `tabulate.tabulate`.

    Returns:
      A function of the arguments of `eval_summary(f)` that returns the table.

    Raises:
      TableError: a column or filter is unknown.
      MissingPackageError: the package tabulate is not installed.
    """
    columns = DEFAULT_COLUMNS if columns is None else columns
    filters = DEFAULT_FILTERS if filters is None else filters
    rows_of([], columns, filters)  # raises at once if they are wrong
    headers = [_COLUMNS[name].header for name in columns]
    colalign = [_COLUMNS[name].align for name in columns]
    package = _tabulate_package()
    summarize = eval_summary(f)

    def draw(*args: Any, **kwargs: Any) -> str:
        rows = rows_of(summarize(*args, **kwargs), columns, filters)
        if not rows:
            return "No modules matching filters."
        return package.tabulate(rows, headers=headers, colalign=colalign, **tabulate_kwargs)

    return draw
