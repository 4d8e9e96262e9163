"""Initial values without the rest of the run: the part of an abstract `init` that they need."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.tree_util as jtu

from purestate._core import trace_guard
from purestate._core.abstract import function_of_arrays, is_array
from purestate._core.equations import is_literal, live_equations
from purestate._core.errors import ArgumentError
from purestate._core.outlines import outline_argument

if TYPE_CHECKING:  # not imported, since it takes long
    from jax.extend.core import Jaxpr, Var

RunTraced = Callable[[Any, Any, dict[Any, Any]], list[Any]]
Report = Callable[[str, int, int], None]
"""`report(name, size, total)` hears of each new variable: its path, its bytes, and those of all."""


def initial_values(
    init: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    report: Report | None = None,
    run_traced: RunTraced | None = None,
) -> Any:
    """Returns what `init(*args, **kwargs)` returns, and computes nothing else.

    JAX traces `init` on shapes. The equations that lead to what it returns then run one by one, as
    they do in `init` without `jax.jit`. So the bits are the same, and JAX compiles an operation
    once for each shape.

    Args:
      init: a pure function of a key and more, such as `init` of a transformed function.
      args: its arguments. An array may be a `jax.ShapeDtypeStruct` if its elements do not matter.
      kwargs: those by name.
      report: hears of each variable that is there; see `Report`.
      run_traced: computes the results under `jax.jit`, from a jaxpr, the equations that count,
        and the values of its inputs; None for one equation after the other.

    Returns:
      A tree of arrays.

    Raises:
      ArgumentError: a result depends on the elements of an array that only has a shape.
    """
    run, arrays = function_of_arrays(init, args, kwargs)
    try:
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(arrays)
    except jax.errors.ConcretizationTypeError as error:
        error.add_note(
            "`init` runs on shapes here (`ps.fast_init`, or a `jax.ShapeDtypeStruct` among its"
            " arguments), but the function asks for the elements of an array in Python. Call"
            " `f.init` with arrays."
        )
        raise
    missing = [isinstance(array, jax.ShapeDtypeStruct) for array in arrays]
    jaxpr = trace_guard.part_of_jaxpr(closed.jaxpr, [True] * len(closed.out_avals))
    if _reads(jaxpr, missing):
        raise _shapes_only(closed.jaxpr, missing, args, kwargs, shapes)
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *arrays], strict=True))
    if run_traced is not None and trace_guard.staging_trace() is not None:
        outs = run_traced(jaxpr, live_equations(jaxpr), values)
    else:
        outs = _evaluate(jaxpr, values, jtu.tree_leaves_with_path(shapes), report)
    return jax.tree.unflatten(jax.tree.structure(shapes), outs)


def _reads(jaxpr: "Jaxpr", missing: list[bool]) -> "Var | None":
    """Returns the first input that is missing although the results depend on it, or None."""
    used = {atom for eqn in live_equations(jaxpr) for atom in eqn.invars if not is_literal(atom)}
    used.update(var for var in jaxpr.outvars if not is_literal(var))
    inputs = zip(jaxpr.invars, missing, strict=True)
    return next((var for var, is_missing in inputs if is_missing and var in used), None)


def name_of(path: Any) -> str:
    """Returns the path of a variable from its place in what `init` returns: `"linear/w"`."""
    return "/".join(str(key.key) for key in path if isinstance(key, jtu.DictKey))


def _evaluate(
    jaxpr: "Jaxpr", values: dict[Any, Any], leaves: list[Any], report: Report | None
) -> list[Any]:
    """Runs equations one by one, forgets each value after its last use, and returns the results."""
    equations, outvars = live_equations(jaxpr), jaxpr.outvars
    uses = Counter(atom for eqn in equations for atom in eqn.invars if not is_literal(atom))
    uses.update(var for var in outvars if not is_literal(var))
    names = {
        var: name_of(path)
        for (path, _), var in zip(leaves, outvars, strict=True)
        if not is_literal(var)
    }
    total = sum(leaf.size * leaf.dtype.itemsize for _, leaf in leaves)

    def value_of(atom: Any) -> Any:
        return atom.val if is_literal(atom) else values[atom]

    for eqn in equations:
        inputs = [value_of(atom) for atom in eqn.invars]
        for var, value in zip(eqn.outvars, trace_guard.run_equation(eqn, inputs), strict=True):
            if uses[var]:
                values[var] = value
            if report is not None and var in names:
                report(names[var], value.size * value.dtype.itemsize, total)
        for atom in eqn.invars:
            if not is_literal(atom):
                uses[atom] -= 1
                if not uses[atom]:
                    values.pop(atom, None)
    return [value_of(var) for var in outvars]


def _shapes_only(
    jaxpr: "Jaxpr",
    missing: list[bool],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shapes: Any,
) -> ArgumentError:
    """The error for a result that depends on elements which are not there."""
    paths = [path for path, _ in jtu.tree_leaves_with_path(shapes)]
    ones = [[i == j for j in range(len(paths))] for i in range(len(paths))]
    parts = (trace_guard.part_of_jaxpr(jaxpr, wanted) for wanted in ones)
    name, source = next(
        (name_of(path), source)
        for path, part in zip(paths, parts, strict=True)
        if (source := _reads(part, missing)) is not None
    )
    arguments = [
        (_argument(path), leaf)
        for path, leaf in jtu.tree_leaves_with_path((args, kwargs))
        if is_array(leaf)
    ]
    place, shape = arguments[jaxpr.invars.index(source)]
    if place.startswith("rng"):
        return ArgumentError(
            f"`init` got {outline_argument(shape)} without elements as `{place}`, and cannot make"
            f" {name!r} of it. Pass a key, such as jax.random.key(0); or write"
            " `jax.eval_shape(f.init, rng, ...)` for the shapes of the variables."
        )
    return ArgumentError(
        f"The initial value of {name!r} depends on the elements of `{place}`, but `init` got only"
        f" its shape, {outline_argument(shape)}. Pass an array there, such as"
        f" jnp.zeros({shape.shape}, {str(shape.dtype)!r}) if its elements do not matter to you."
    )


def _argument(path: Any) -> str:
    """Returns how an argument of `init` is called: `args[0]`, `kwargs['x']`, or `rng`."""
    part, first, *rest = path
    if part.idx == 0 and first.idx == 0:
        return "rng" + jtu.keystr(tuple(rest))
    if part.idx == 0:
        return f"args[{first.idx - 1}]" + jtu.keystr(tuple(rest))
    return f"{first.key}" + jtu.keystr(tuple(rest))
