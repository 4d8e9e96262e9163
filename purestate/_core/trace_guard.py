"""Which JAX trace is running. The only file that looks at how JAX traces.

A frame belongs to the trace in which it was made. Inside a plain `jax.jit`, `jax.vmap` or
`jax.lax.scan` another trace runs, and a tracer made there dies with it: kept in the frame, it
would come out of `init` or `apply` as a dead object, or be the same key for every step of a loop.
"""

import functools
import logging
import os
import sys
import warnings
from typing import Any, NamedTuple

import jax

from purestate._core import config
from purestate._core.errors import JaxUsageError, JaxUsageWarning, SharedKeyWarning

TraceState = Any
_NOT_USERS = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    os.path.dirname(jax.__file__) + os.sep,
    os.path.dirname(os.__file__) + os.sep + "contextlib",
    os.path.dirname(os.__file__) + os.sep + "functools",
)
_JAX = os.path.dirname(jax.__file__) + os.sep
_Tracer: Any = jax.core.Tracer  # pyright: ignore[reportAttributeAccessIssue]


_get_opaque_trace_state: Any = None


def current_trace_state() -> TraceState:
    """Returns something that is equal to itself as long as the same trace runs."""
    global _get_opaque_trace_state
    if _get_opaque_trace_state is None:
        # Not at the top: jax.extend takes as long to import as all of purestate.
        from jax.extend.core import get_opaque_trace_state

        _get_opaque_trace_state = get_opaque_trace_state
    return _get_opaque_trace_state(convention="purestate")


def _lasting_traces(state: TraceState) -> list[Any]:
    """The trace of `state` and those around it: tracers of these live as long as the frame."""
    reference = getattr(state, "_trace_ref", None)
    trace = reference() if reference is not None else None
    traces: list[Any] = []
    while trace is not None:
        traces.append(trace)
        trace = getattr(trace, "parent_trace", None)
    return traces


def is_staging(state: TraceState) -> bool:
    """Whether a trace writes a jaxpr, as under `jax.jit`, instead of computing at once."""
    return any(type(trace).__name__ == "DynamicJaxprTrace" for trace in _lasting_traces(state))


def staging_trace() -> Any:
    """Returns the innermost running trace that writes a jaxpr; None if JAX computes at once."""
    traces = _lasting_traces(current_trace_state())
    return next((t for t in traces if type(t).__name__ == "DynamicJaxprTrace"), None)


def part_of_jaxpr(jaxpr: Any, wanted: list[bool]) -> Any:
    """Returns what the wanted results of a jaxpr need of it, in loops and branches too."""
    from jax.interpreters import partial_eval  # it takes long to import

    return partial_eval.dce_jaxpr(jaxpr, wanted, instantiate=True)[0]


def run_equation(eqn: Any, inputs: list[Any]) -> list[Any]:
    """Runs one equation of a jaxpr. Outside of any trace JAX computes it at once."""
    bound = eqn.primitive.get_bind_params(eqn.params)
    # Versions of JAX differ in where they put functions.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    with eqn.ctx.manager:  # such as which random numbers a key stands for
        outs = eqn.primitive.bind(*functions, *inputs, **params)
    return outs if eqn.primitive.multiple_results else [outs]


def is_traced(value: Any) -> bool:
    """Whether JAX traces `value`, so that its elements are not known."""
    return isinstance(value, _Tracer)


def outlives_trace(value: Any, state: TraceState) -> bool:
    """Whether all arrays in `value` are still good when the running inner trace has ended."""
    tracers = [leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, _Tracer)]
    if not tracers:
        return True
    lasting = _lasting_traces(state)
    return all(
        any(getattr(tracer, "_trace", None) is trace for trace in lasting) for tracer in tracers
    )


@functools.cache
def explain_only_traces_of_users() -> None:
    """Has JAX say why it traces a function (`jax_explain_cache_misses`) only if it is a user's."""
    logging.getLogger("jax._src.interpreters.partial_eval").addFilter(_is_of_user)


def _is_of_user(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(f"TRACING CACHE MISS at {_NOT_USERS[0]}")


def user_location() -> str:
    """Returns the innermost line of the user's own code, as " (file.py:12)"."""
    frame = sys._getframe(1)  # only for messages
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_NOT_USERS) and not path.startswith("<frozen"):
            return f" ({path}:{frame.f_lineno})"
        frame = frame.f_back
    return ""


def usage_error(what: str, where: str) -> JaxUsageError:
    """The error for a side effect, `what`, of the module `where`, in a plain JAX transform."""
    return JaxUsageError(
        f"{what} in {where!r}{user_location()} happens inside a plain JAX transform (jax.jit,"
        " jax.vmap, jax.grad, jax.checkpoint, jax.lax.scan, jax.lax.cond, ...). Those expect pure"
        " functions: a value made inside cannot get out. It would be lost, leak as a dead tracer,"
        " or be the same for every step. Use the transform of the same name in purestate (ps.vmap,"
        " ps.scan, ps.cond, ps.remat, ...), or turn the function into a pure one with `pure ="
        " ps.purify(f)` and give `pure` to JAX. If all of f is to be transformed, do it outside:"
        " jax.jit(ps.transform(f).apply)."
    )


def check_strictly(state: TraceState, what: str, where: str) -> None:
    """Raises if `check_jax_usage` is on and another trace runs than the frame's own."""
    if (
        config.ever_strict
        and config.get_config().check_jax_usage
        and current_trace_state() != state
    ):
        raise usage_error(what, where)


def _inner_traces(state: TraceState) -> list[Any]:
    """The traces that run inside that of `state`."""
    lasting = _lasting_traces(state)
    return [
        trace
        for trace in _lasting_traces(current_trace_state())
        if not any(trace is other for other in lasting)
    ]


def is_compiled_inside(state: TraceState) -> bool:
    """Whether a trace that writes a jaxpr runs inside that of `state`."""
    return any(type(trace).__name__ == "DynamicJaxprTrace" for trace in _inner_traces(state))


def check_draw(keys: Any, state: TraceState, what: str, where: str) -> None:
    """Raises if a key is drawn in a plain loop or `jax.jit`: all steps would get the same key.

    The remaining `keys` would be lost with the trace. With a reserve they are not lost, but the
    steps still share one key.
    """
    if not is_compiled_inside(state) and outlives_trace(keys, state):
        return
    action = config.get_config().leaks
    if action == "error":
        raise usage_error(what, where)
    if action == "warn":
        warn_user(str(usage_error(what, where)), JaxUsageWarning)


def warn_of_shared_key(state: TraceState, what: str, where: str) -> None:
    """Warns, or raises, if a plain `jax.vmap` runs around a draw: all elements get the same key."""
    action = config.get_config().shared_keys
    if action == "off":
        return
    inner = _inner_traces(state)
    if not any(type(trace).__name__ == "BatchTrace" for trace in inner):
        return
    if _inside("jacfwd."):  # maps over directions, which should all see the same key
        return
    message = (
        f"{what} in {where!r}{user_location()} is drawn inside a plain jax.vmap, so all mapped"
        " elements get the same key. Use ps.vmap(..., split_rng=not ps.running_init()), which gives"
        " each element its own key, or draw a key before jax.vmap and split it. To share one key on"
        " purpose, use ps.config.set(shared_keys='off')."
    )
    if action == "error":
        raise JaxUsageError(message)
    warn_user(message, SharedKeyWarning)


def _inside(qualified_name: str) -> bool:
    """Whether a function of JAX, whose qualified name begins like this, runs around this code."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_qualname.startswith(
            qualified_name
        ) and frame.f_code.co_filename.startswith(_JAX):
            return True
        frame = frame.f_back
    return False


def warn_user(message: str, kind: type[Warning]) -> None:
    """Warns at the caller's own line: the innermost that is neither purestate's nor JAX's."""
    frame, depth = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_USERS):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, kind, stacklevel=depth)


def check_outlives_trace(value: Any, state: TraceState, what: str, where: str) -> None:
    """Raises if `value`, about to be kept in the frame, would die before it."""
    if current_trace_state() == state or outlives_trace(value, state):
        return
    action = config.get_config().leaks
    if action == "off":
        return
    if action == "error":
        raise usage_error(what, where)
    warn_user(str(usage_error(what, where)), JaxUsageWarning)


def differs_by_element(value: Any) -> bool:
    """Whether an array in `value` differs from element to element of the innermost `jax.vmap`."""
    return any(
        type(getattr(leaf, "_trace", None)).__name__ == "BatchTrace"
        and getattr(leaf, "batch_dim", None) is not None
        for leaf in jax.tree.leaves(value)
    )


def varying_axes(value: Any) -> set[Any]:
    """The axes of a mesh along which an array in `value` may differ, inside `jax.shard_map`."""
    axes: set[Any] = set()
    for leaf in jax.tree.leaves(value):
        kind: Any = jax.typeof(leaf)
        manual = getattr(kind, "manual_axis_type", None)
        axes |= set(getattr(kind, "vma", ()) if manual is None else manual.varying)
    return axes


def device_axes() -> tuple[Any, ...]:
    """The mesh axes along which a `jax.shard_map` or `jax.pmap` has split the arrays."""
    return tuple(jax.sharding.get_abstract_mesh().manual_axes)


def shard_axes() -> tuple[Any, ...]:
    """Like `device_axes`, but empty inside `jax.pmap`, whose devices differ on purpose."""
    axes = device_axes()
    return () if not axes or _inside("pmap.") else axes


class ShardMap(NamedTuple):
    """A call of a function that `jax.shard_map` or `jax.pmap` made, while its body runs.

    Attributes:
      body: the function of one shard.
      args: its arguments, before they are split.
      in_specs: how they are split.
      out_specs: how its results are joined.
      mesh: the mesh of devices.
      check_vma: whether JAX itself tracks which values differ.
      call: an object that only this call has.
      is_pmap: whether `jax.pmap` made it.
    """

    body: Any
    args: tuple[Any, ...]
    in_specs: Any
    out_specs: Any
    mesh: Any
    check_vma: bool
    call: Any
    is_pmap: bool


def running_shard_map() -> ShardMap | None:
    """Returns the innermost `jax.shard_map` around, or None.

    Nothing public of JAX tells a body how it is called. So this looks for JAX's own frame among the
    callers, and for the arguments of `jax.shard_map` by their public names. If another version of
    JAX has other frames, this returns None.
    """
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_qualname == "_shard_map.<locals>.wrapped" and code.co_filename.startswith(_JAX):
            known = frame.f_locals
            names = ("f", "args", "in_specs", "out_specs", "mesh", "check_vma", "f_wrapped")
            if not all(name in known for name in names):
                return None
            return ShardMap(*(known[name] for name in names), is_pmap=_inside("pmap."))
        frame = frame.f_back
    return None


def is_tracked(axis: Any) -> bool:
    """Whether JAX knows which values differ along an axis: `check_vma=True` of `jax.shard_map`."""
    return axis in varying_axes(jax.lax.axis_index(axis))


def is_bound(axis: Any) -> bool:
    """Whether an axis can be summed over here."""
    try:
        jax.lax.axis_size(axis)
    except NameError:
        return False
    return True
