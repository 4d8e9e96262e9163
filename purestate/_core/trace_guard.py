"""Which JAX trace is running. The only file that looks at how JAX traces.

A frame belongs to the trace in which it was made. Inside a plain `jax.jit`, `jax.vmap` or
`jax.lax.scan` another trace runs, and a tracer made there dies with it: kept in the frame, it
would come out of `init` or `apply` as a dead object, or be the same key for every step of a loop.
"""

from typing import Any

import jax

from purestate._core import config
from purestate._core.errors import JaxUsageError

TraceState = Any
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
    """Whether what is computed is written down in a jaxpr, as under `jax.jit`, and not run at once."""
    return any(type(trace).__name__ == "DynamicJaxprTrace" for trace in _lasting_traces(state))


def outlives_trace(value: Any, state: TraceState) -> bool:
    """Whether all arrays in `value` are still good when the running inner trace has ended."""
    tracers = [leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, _Tracer)]
    if not tracers:
        return True
    lasting = _lasting_traces(state)
    return all(any(getattr(tracer, "_trace", None) is trace for trace in lasting) for tracer in tracers)


def usage_error(what: str, where: str) -> JaxUsageError:
    """The error for a side effect, `what`, of the module `where`, in a plain JAX transform."""
    return JaxUsageError(
        f"{what} in {where!r} happens inside a plain JAX transform (jax.jit, jax.vmap, jax.grad, "
        "jax.checkpoint, jax.lax.scan, jax.lax.cond, ...). Those expect pure functions: what is "
        "made inside cannot get out, and would be lost, leak as a dead tracer, or be the same for "
        "every step. Use the transform of the same name in purestate (ps.vmap, ps.scan, ps.cond, "
        "ps.remat, ...), or turn the function into a pure one with `pure = ps.purify(f)` and give "
        "`pure` to JAX. If all of f is to be transformed, do it outside: jax.jit(ps.transform(f).apply)."
    )


def check_strictly(state: TraceState, what: str, where: str) -> None:
    """Raises if another trace runs than the frame's own, where `check_jax_usage` is on."""
    if config.ever_strict and config.get_config().check_jax_usage and current_trace_state() != state:
        raise usage_error(what, where)


def check_outlives_trace(value: Any, state: TraceState, what: str, where: str) -> None:
    """Raises if `value`, about to be kept in the frame, would die before it."""
    if current_trace_state() != state and not outlives_trace(value, state):
        raise usage_error(what, where)
