"""The equations of a function as a tree of modules, with sizes and floating point operations."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from purestate._core.abstract import function_of_arrays
from purestate._core.equations import is_literal, live_equations
from purestate._inspection.subprograms import body_of, is_dropped, opened
from purestate._inspection.summary import MethodInvocation, calls_of
from purestate._inspection.tracing import AxisEnv


@dataclasses.dataclass
class Module:
    """A module, a jitted function or another scope, and the expressions in it.

    Attributes:
      name: the last part of its name.
      flops: the number of floating point operations in it, if counted.
      expressions: its expressions, in order.
      total_param_size: the number of elements of its parameters.
      param_info: the shapes of its parameters by name, `"./w"` or `"./linear/w"`.
      total_state_size: the number of elements of its state.
      state_info: the shapes of its state by name.
    """

    name: str
    flops: int | None = None
    expressions: list["Expression"] = dataclasses.field(default_factory=list)
    total_param_size: int = 0
    param_info: dict[str, str] = dataclasses.field(default_factory=dict)
    total_state_size: int = 0
    state_info: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Expression:
    """An equation of a jaxpr, or a scope of several.

    Attributes:
      primitive: the name of the primitive; "name_scope" for a scope.
      invars: its inputs.
      outvars: its outputs.
      flops: the number of its floating point operations, if counted.
      details: the shapes of its inputs and outputs.
      params: its other parameters, by name.
      submodule: its contents, if it is more than a primitive.
      first_outvar: its first output.
      name_stack: the names of the scopes around it.
    """

    primitive: str
    invars: str
    outvars: str
    flops: int | None = None
    details: str = ""
    params: dict[str, str] = dataclasses.field(default_factory=dict)
    submodule: Module | None = None
    first_outvar: str = ""
    name_stack: Sequence[str] = dataclasses.field(default_factory=list)


ComputeFlopsFn = Callable[[Any, Expression], int]


def make_model_info(
    f: Callable[..., Any],
    name: str | None = None,
    include_module_info: bool = True,
    compute_flops: ComputeFlopsFn | None = None,
    axis_env: AxisEnv | None = None,
) -> Callable[..., Module]:
    """Returns a function that reports the equations of `f` as a tree. It computes nothing.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: jnp.tanh(ps.Linear(2, with_bias=False)(x)))
    >>> x = jnp.ones([4, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> info = ps.experimental.jaxpr_info.make_model_info(f.apply, name="f")(params, None, x)
    >>> print(ps.experimental.jaxpr_info.format_module(info))
    f
      linear 6 params
        dot_general in f32[4,3], f32[3,2], out f32[4,2]
      tanh in f32[4,2], out f32[4,2]
    <BLANKLINE>

    Args:
      f: a pure function, such as the `apply` of a transformed function.
      name: the name to show; None for the name of `f`.
      include_module_info: whether to report the parameters and state of modules. This traces `f`
        once more.
      compute_flops: a function of a `jax.extend.core.JaxprEqn` and an `Expression` that returns the
        number of floating point operations; None to leave them out. A loop of unknown length
        counts as one step, `cond` as its most expensive branch.
      axis_env: names and sizes of mapped axes that `f` uses.

    Returns:
      A function of the arguments of `f` that returns a `Module`. Arguments that are not arrays
        stay Python values.
    """
    title = name or getattr(f, "__name__", "") or type(f).__name__

    def make_module(*args: Any, **kwargs: Any) -> Module:
        run, arrays = function_of_arrays(f, args, kwargs)
        jaxpr = jax.make_jaxpr(run, axis_env=axis_env)(arrays)
        module = _module_of(title, opened(jaxpr), compute_flops)
        if include_module_info:
            calls = calls_of(
                lambda *args, **kwargs: f(*args, **kwargs), args, kwargs, axis_env or ()
            )
            _add_variables(module, "", _calls_by_scope(calls))
        return module

    return make_module


def _module_of(name: str, jaxpr: Any, compute_flops: ComputeFlopsFn | None) -> Module:
    names = _letters(jaxpr)
    expressions = [
        _expression(eqn, names, compute_flops) for eqn in live_equations(jaxpr, effects=True)
    ]
    if compute_flops is not None:  # skip scopes that cost nothing
        expressions = [e for e in expressions if e.submodule is None or e.flops]
    module = Module(name)
    _put_into_scopes(module, expressions)
    if compute_flops is not None:
        module.flops = module.flops or 0
    return module


def _expression(
    eqn: Any, names: Mapping[Any, str], compute_flops: ComputeFlopsFn | None
) -> Expression:
    inputs = [names[v] if not is_literal(v) else str(v.val) for v in eqn.invars]
    # In the order of their names. Unused outputs come last.
    outputs = sorted((names[v] for v in eqn.outvars), key=lambda n: (n == "_", len(n), n)) or ["_"]
    scopes = str(eqn.source_info.name_stack)
    expression = Expression(
        primitive=eqn.primitive.name,
        invars=" ".join(inputs) if len(inputs) < 10 else f"{len(inputs)} inputs",
        outvars=(
            " ".join(outputs)
            if len(outputs) < 10
            else f"{outputs[0]}, {len(outputs) - 1} more outputs"
        ),
        first_outvar=outputs[0],
        name_stack=scopes.split("/") if scopes else [],
    )
    submodule = _submodule(eqn, compute_flops)
    if submodule is not None:
        expression.submodule = submodule
        expression.flops = submodule.flops
        return expression
    shapes = [
        (kind, ", ".join(map(_shape, v)))
        for kind, v in (("in", eqn.invars), ("out", eqn.outvars))
        if v
    ]
    expression.details = ", ".join(f"{kind} {shape}" for kind, shape in shapes)
    expression.params = {key: str(value) for key, value in eqn.params.items()}
    if compute_flops is not None:
        expression.flops = compute_flops(eqn, expression)
    return expression


def _submodule(eqn: Any, compute_flops: ComputeFlopsFn | None) -> Module | None:
    """Returns the equations that an equation runs, if there are any."""
    body = body_of(eqn)
    if body is not None:
        module = _module_of(body.name, body.jaxpr, compute_flops)
        if module.flops is not None:
            module.flops *= body.times
        return module
    if eqn.primitive.name == "while":
        return _module_of("while", opened(eqn.params["body_jaxpr"]), compute_flops)
    if eqn.primitive.name == "cond":
        branches = [
            _module_of(f"branch {i}", opened(branch), compute_flops)
            for i, branch in enumerate(eqn.params["branches"])
        ]
        flops = None if compute_flops is None else max(branch.flops or 0 for branch in branches)
        cases = [
            Expression("branch", "", "", branch.flops, submodule=branch) for branch in branches
        ]
        return Module("cond", flops, cases)
    return None


def _letters(jaxpr: Any) -> dict[Any, str]:
    """Returns a name for each variable, as JAX prints them: a to z, then ba, bb, ..."""
    variables = [
        *jaxpr.constvars,
        *jaxpr.invars,
        *(var for eqn in jaxpr.eqns for var in eqn.outvars),
    ]
    return {var: "_" if is_dropped(var) else _letter(i) for i, var in enumerate(variables)}


def _letter(i: int) -> str:
    name = chr(ord("a") + i % 26)
    while i >= 26:
        i //= 26
        name = chr(ord("a") + i % 26) + name
    return name


def _shape(var: Any) -> str:
    aval = var.aval
    if not (hasattr(aval, "shape") and hasattr(aval, "dtype")):
        return str(aval)
    return f"{aval.dtype.name.replace('float', 'f')}[{','.join(map(str, aval.shape))}]"


def _put_into_scopes(module: Module, expressions: list[Expression]) -> None:
    """Sorts expressions into a tree of modules by their scopes, and adds up their costs."""
    open_scopes = [Expression("", "", "", submodule=module)]
    for expression in expressions:
        same = 0
        for scope, name in zip(open_scopes[1:], expression.name_stack, strict=False):
            if _inside(scope).name != name:
                break
            same += 1
        del open_scopes[same + 1 :]
        for name in expression.name_stack[same:]:
            scope = Expression("name_scope", "", "", submodule=Module(name))
            _inside(open_scopes[-1]).expressions.append(scope)
            open_scopes.append(scope)
        _inside(open_scopes[-1]).expressions.append(expression)
        if expression.flops is not None:
            for scope in open_scopes:
                scope.flops = _inside(scope).flops = (_inside(scope).flops or 0) + expression.flops


def _inside(expression: Expression) -> Module:
    assert expression.submodule is not None
    return expression.submodule


def _calls_by_scope(calls: Sequence[MethodInvocation]) -> dict[str, MethodInvocation]:
    """Returns the calls of modules by their place in the name stacks: `encode/mlp/linear_0`."""
    by_scope: dict[str, MethodInvocation] = {}
    for call in calls:
        parts: list[str] = []
        for details in reversed(call.call_stack):
            if details.method_name != "__call__":
                parts.append(details.method_name)
            parts.append(details.module.name)
        by_scope["/".join(parts)] = (
            call  # the last call: by then the module has used all its variables
        )
    return by_scope


def _add_variables(module: Module, scope: str, calls: Mapping[str, MethodInvocation]) -> None:
    for expression in module.expressions:
        if expression.submodule is None:
            continue
        inner = scope
        if expression.primitive == "name_scope":
            inner = f"{scope}/{expression.submodule.name}" if scope else expression.submodule.name
            if inner in calls:
                _set_variables(expression.submodule, calls[inner])
        _add_variables(expression.submodule, inner, calls)


def _set_variables(module: Module, call: MethodInvocation) -> None:
    details = call.module_details
    path = details.module.module_name

    def local(name: str) -> str:
        name = "." + name.removeprefix(path) if name.startswith(path + "/") else name
        return name.replace("/~/", "/")

    module.total_param_size = sum(spec.size for spec in details.params.values())
    module.total_state_size = sum(spec.size for spec in details.state.values())
    module.param_info = {local(name): str(spec) for name, spec in details.params.items()}
    module.state_info = {local(name): str(spec) for name, spec in details.state.items()}


def format_number(n: int, unit: str) -> str:
    """Returns a number with four digits and an SI prefix: `4.624 kparams`."""
    for prefix, exponent in (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)):
        if n > 10**exponent:
            return f"{n / 10**exponent:.4g} {prefix}{unit}"
    return f"{n} {unit}"


def format_module(module: Module, depth: int = 0) -> str:
    """Returns the tree of a module as indented text.

    See `make_model_info` for an example.

    Args:
      module: what `make_model_info` returned.
      depth: the level of indentation.

    Returns:
      Lines of text.
    """
    words = ["  " * depth + module.name]
    if module.flops is not None:
        words.append(format_number(module.flops, "flops"))
    if module.total_param_size:
        words.append(format_number(module.total_param_size, "params"))
    if module.total_state_size:
        words.append(format_number(module.total_state_size, "state"))
    return (
        " ".join(words)
        + "\n"
        + "".join(_format_expression(e, depth + 1) for e in module.expressions)
    )


def _format_expression(expression: Expression, depth: int) -> str:
    if expression.submodule is not None:
        return format_module(expression.submodule, depth)
    words = ["  " * depth + expression.primitive]
    if expression.flops is not None:
        words.append(format_number(expression.flops, "flops"))
    return " ".join([*words, expression.details]) + "\n"
