"""Messages of derivatives inside, their rules, checkpointed loops, and mapped variables."""

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

import purestate as ps
from tests.messages.helpers import X, init, key, zeros

PARAMS = {"linear": {"w": zeros(3, 2), "b": zeros(2)}, "other": {"w": zeros(3, 2), "b": zeros(2)}}


def net(x: Any) -> Any:
    return ps.Linear(2)(x)


def other(x: Any) -> Any:
    return ps.Linear(2, name="other")(x)


def apply(f: Callable[..., Any], *args: Any) -> Any:
    return ps.transform(f).apply(PARAMS, None, *args)


def tangents(*given: Any) -> Callable[[], Any]:
    return lambda: apply(lambda x: ps.jvp(net, (x,), given, with_params=True), X)


def rule(fwd: Callable[..., Any], bwd: Any = None) -> Callable[[], Any]:
    """A gradient through `net` with a rule."""
    own = ps.custom_vjp(net)
    own.defvjp(fwd, bwd)
    return lambda: jax.grad(
        lambda p: ps.transform_with_state(own).apply(p, None, None, X)[0].sum()
    )(PARAMS)


def keep(x: Any) -> Any:
    ps.set_state("last", x)
    return net(x)


def rule_that_sets_state() -> Any:
    own = ps.custom_vjp(net)
    own.defvjp(lambda x: (keep(x), x), lambda x, g: (None, x))
    f = jax.jit(lambda p: ps.transform_with_state(own).apply(p, None, None, X)[0].sum())
    return jax.grad(f)(PARAMS)


def rule_of_itself() -> Any:
    own = ps.custom_vjp(net)
    own.defvjp(lambda x: ps.vjp(own, x, with_params=True), lambda back, g: back(g))
    return jax.grad(lambda p: ps.transform(own).apply(p, None, X).sum())(PARAMS)


def jvp_rule() -> Any:
    own = ps.custom_jvp(net)
    own.defjvp(lambda primals, tangents: net(*primals))
    return jax.grad(lambda p: ps.transform(own).apply(p, None, X).sum())(PARAMS)


def by_keyword() -> Any:
    own = ps.custom_vjp(lambda x, *, scale: x * scale)
    own.defvjp(lambda x: (x, x), lambda x, g: (None, x))
    return apply(lambda x: own(x, scale=2), X)


def counted(x: Any) -> Any:
    ps.set_state("n", jnp.zeros([]))
    return x


def progress_without_tqdm():
    with mock.patch.dict(sys.modules, {"tqdm.auto": None}):
        ps.fast_init(ps.transform(net), progress=True)(key(), X)


def one_trace_too_many():
    double = jax.jit(ps.assert_max_traces(lambda x: 2 * x, 1))
    double(X)
    double(X[0])


def traced_in_a_block():
    x = X + 1
    with ps.testing.no_traces():
        jax.jit(lambda x: 2 * x)(x)


CASES: dict[str, Callable[[], Any]] = {
    "jvp, a tangent too few": tangents(X),
    "jvp, tangents of no parameters": tangents(X, X),
    "jvp, a tangent of an unknown parameter": tangents({"linaer": {"w": X}}, X),
    "custom_vjp without a rule": lambda: apply(ps.custom_vjp(net), X),
    "custom_vjp, fwd returns one thing": rule(net),
    "custom_vjp, bwd forgets the parameters": rule(lambda x: (net(x), x), lambda x, g: (x,)),
    "custom_vjp, bwd returns one thing": rule(lambda x: (net(x), x), lambda x, g: x),
    "custom_vjp, gradients of unknown parameters": rule(
        lambda x: (net(x), x), lambda x, g: ({"linaer": {"w": x}}, x)
    ),
    "custom_vjp, gradients in no bundle": rule(lambda x: (net(x), x), lambda x, g: (x, x)),
    "custom_vjp, fwd reads more": rule(lambda x: (other(x), x)),
    "custom_vjp, fwd sets state": rule_that_sets_state,
    "custom_vjp, fwd differentiates itself": rule_of_itself,
    "custom_vjp, by keyword": by_keyword,
    "custom_jvp, the rule returns one thing": jvp_rule,
    "scan, checkpoint is a text": lambda: init(
        lambda: ps.scan(lambda c, x: (c, x), 0, X, checkpoint="sqrt")  # pyright: ignore[reportArgumentType]
    ),
    "while_loop, max_steps is no int": lambda: apply(
        lambda: ps.while_loop(lambda x: x > 0, lambda x: x, 1.0, max_steps=2.5)  # pyright: ignore[reportArgumentType]
    ),
    "closure_convert sets state": lambda: init(lambda: ps.closure_convert(counted, X)),
    "map_variables without an inverse": lambda: init(
        ps.map_variables(counted, lambda v, _: v, collection="state"), X
    ),
    "init_with_output of a function": lambda: ps.init_with_output(net),  # pyright: ignore
    "init_with_output, init is compiled": lambda: ps.init_with_output(
        ps.transform(net)._replace(init=jax.jit(ps.transform(net).init))
    )(key(), X),
    "fast_init of a function": lambda: ps.fast_init(net),  # pyright: ignore
    "fast_init, the elements of an argument matter": lambda: ps.fast_init(
        ps.transform(lambda x: ps.get_parameter("mean", [3], init=lambda s, d: x.mean(0)))
    )(key(), jax.ShapeDtypeStruct([4, 3], jnp.float32)),  # pyright: ignore[reportArgumentType]
    "init, a key without elements": lambda: ps.transform(net).init(
        jax.eval_shape(jax.random.key, 0),  # pyright: ignore[reportArgumentType]
        X,
    ),
    "fast_init, progress without tqdm": progress_without_tqdm,
    "assert_max_traces, one trace too many": one_trace_too_many,
    "assert_max_traces, no number": lambda: ps.assert_max_traces(net, 0),
    "assert_max_traces of what is compiled": lambda: ps.assert_max_traces(jax.jit(net), 1),
    "explain_retrace of a pair": lambda: ps.explain_retrace(ps.transform(net)),  # pyright: ignore
    "testing.no_traces": traced_in_a_block,
}
