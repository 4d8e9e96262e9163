"""Runs an operation with its interceptors around it."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.frame import ambient, full_path
from purestate._core.hooks import OPERATION, ActiveHooks, Hook
from purestate._core.naming import path_here
from purestate._core.parameters_read import parameters_among
from purestate._core.path import ROOT
from purestate._core.trace_guard import current_trace_state
from purestate._ops.errors import OperationError


class OpContext(NamedTuple):
    """Describes the operation that an interceptor runs for.

    Attributes:
      op: its name, such as `"dot_general"`.
      module: the module that is running; None outside any module.
      path: the path of that module; `"~"` outside any module. In a function that is lifted with
        `ps.lift` paths begin in that function.
      params: for each parameter that is an operand, its position: `{"w": 1}`. A parameter of
        another module has its full name here, `"embed/embeddings"`.
      options: the static options by name, such as `{"precision": None}`.
    """

    op: str
    module: Any
    path: str
    params: Mapping[str, int]
    options: Mapping[str, Any]


class OpInterceptor(Protocol):
    """`interceptor(next_op, operands, context) -> result`."""

    def __call__(
        self, next_op: Callable[..., Any], operands: tuple[Any, ...], context: OpContext, /
    ) -> Any: ...


def intercepted(
    name: str,
    f: Callable[..., Any],
    count: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    beside: Callable[..., None] | None = None,
) -> Any:
    """Runs an operation with its interceptors around it, outermost first."""
    bound = inspect.signature(f).bind(*args, **kwargs)
    bound.apply_defaults()
    values = list(bound.arguments.items())
    operands = tuple(value for _, value in values[:count])
    options = dict(values[count:])
    frames, hooks = ambient.get()
    scope = frames[-1].scope if frames else None
    here = ROOT if scope is None else path_here(frames[-1], scope)
    module = None if scope is None else scope.module
    path = full_path(frames, here)
    context = OpContext(name, module, path, parameters_among(operands, here), options)
    interceptors = [hook.function for hook in hooks if hook.event == OPERATION]
    # One that computes the operation itself comes last, so that the others still take part.
    interceptors.sort(key=lambda interceptor: getattr(interceptor, "computes", False))
    shapes: list[Any] = []
    returned: list[tuple[Any, Any]] = []  # what each interceptor has returned, innermost first
    last_call = (operands, options)
    sows = beside is not None and frames and frames[-1].sown is not None

    def run_from(position: int, operands: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        nonlocal last_call
        if position == len(interceptors):
            # In a trace of the interceptor's own the operands are tracers that end with it.
            if sows and current_trace_state() == frames[-1].home.trace:
                last_call = (operands, options)
            out = f(*operands, **options)
            shapes.append(_shapes(out))
            return out

        def next_op(*operands: Any, **changed: Any) -> Any:
            _check_call(name, path, interceptors[position], count, operands, options, changed)
            return run_from(position + 1, operands, {**options, **changed})

        out = interceptors[position](next_op, operands, context._replace(options=options))
        returned.append((interceptors[position], _shapes(out)))
        return out

    # What an interceptor computes is its own: no interceptor sees the operations in it.
    unseen = tuple(hook for hook in hooks if hook.event != OPERATION)
    token = ambient.set((frames, unseen))
    try:
        out = run_from(0, operands, options)
        expected = shapes[-1] if shapes else _shapes(jax.eval_shape(_closed(f, options), *operands))
        if beside is not None and sows:
            beside(*last_call[0], **last_call[1])
    finally:
        ambient.reset(token)
    if _shapes(out) != expected:
        who, given = next(pair for pair in returned if pair[1] != expected)
        raise OperationError(
            f"The interceptor {_named(who)} of {name!r} in {path!r} returned {_told(given)}, and"
            f" the layer expects {_told(expected)}. Have it return an array of that shape (its"
            " dtype may differ)."
        )
    return out


def _closed(f: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda *operands: f(*operands, **options)


def _shapes(out: Any) -> Any:
    """The shapes of an array, or of each array of a tuple; None for what has no shape."""
    if isinstance(out, tuple):
        return tuple(_shapes(part) for part in out)
    shape = getattr(out, "shape", None)
    return None if shape is None else list(shape)


def _told(shapes: Any) -> str:
    if shapes is None:
        return "something that is not an array"
    if isinstance(shapes, list):
        return f"shape {tuple(shapes)}"
    return f"{len(shapes)} arrays: {', '.join(_told(shape) for shape in shapes)}"


def _named(interceptor: Any) -> str:
    return f"`{getattr(interceptor, '__name__', type(interceptor).__name__)}`"


def _check_call(
    name: str,
    path: str,
    interceptor: Any,
    count: int,
    operands: tuple[Any, ...],
    options: Mapping[str, Any],
    changed: Mapping[str, Any],
) -> None:
    """Raises unless `next_op` was called with as many operands, and with options that there are."""
    unknown = [option for option in changed if option not in options]
    if len(operands) == count and not unknown:
        return
    if unknown:
        problem = f"the option {unknown[0]!r}; the options of {name!r} are {', '.join(options)}"
    else:
        problem = f"{len(operands)} operands; {name!r} takes {count}"
    raise OperationError(
        f"{_named(interceptor)} called `next_op` in {path!r} with {problem}. Write"
        " `next_op(*operands)`, or with options that change, `next_op(*operands,"
        f" {next(iter(options))}=...)`."
    )


def intercept_ops(interceptor: OpInterceptor) -> AbstractContextManager[None]:
    """Runs `interceptor` around every operation of a layer inside the `with` block.

    An operation is what a layer computes with its parameters: `dot_general`,
    `conv_general_dilated`, `conv_transpose`, `dot_product_attention`, `embedding_lookup`,
    `normalize`, `moments`. An interceptor can observe it, change its operands, its options or its
    result, or compute something else in its place. The block may be around `init` and `apply`,
    around a compiled function, or around a part of a transformed function.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def in_bfloat16(next_op, operands, context):
    ...     if context.op != "dot_general":
    ...         return next_op(*operands)
    ...     print(context.path, dict(context.params))
    ...     x, w = operands
    ...     out = next_op(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16))
    ...     return out.astype(x.dtype)
    >>> f = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> with ps.intercept_ops(in_bfloat16):
    ...     out = f.apply(params, None, x)
    mlp/~/linear_0 {'w': 1}
    mlp/~/linear_1 {'w': 1}

    Args:
      interceptor: `interceptor(next_op, operands, context) -> result`, with an `OpContext`.
        `next_op(*operands)` runs the operation; `next_op(*operands, precision="highest")` runs it
        with another option. The result has the shape of the operation's.

    Returns:
      A context manager.

    Raises:
      ArgumentError: `interceptor` is not a function.
      OperationError: when a layer runs: an interceptor returned another shape.
    """
    if isinstance(interceptor, type) or not callable(interceptor):
        raise ArgumentError(
            "`ps.intercept_ops` takes a function (next_op, operands, context), but was given"
            f" {kind_of(interceptor)}. Write `def interceptor(next_op, operands, context): return"
            " next_op(*operands)`."
        )
    return ActiveHooks(Hook(OPERATION, interceptor))
