"""Values of a traced function, one primitive at a time: many small programs, and nothing to compile for each.

XLA takes most of a second for a loop or a jitted function, and forgets what it compiled with the next program. A primitive at
a small shape it compiles once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def traced_and_evaluated(f: Callable[..., Any]) -> Callable[..., Any]:
    """Like `jax.jit(f)`, evaluated in Python."""
    traced: dict[Any, Any] = {}

    def run(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        kind = (structure, *((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))
        if kind not in traced:
            traced[kind] = jax.make_jaxpr(f, return_shape=True)(*args)
        closed, shape = traced[kind]
        return jax.tree.unflatten(jax.tree.structure(shape), evaluate(closed, leaves))

    return run


def evaluate(closed: Any, args: list[Any]) -> list[Any]:
    """The results of a closed jaxpr."""
    return _run(closed.jaxpr, closed.consts, args)


def _run(jaxpr: Any, consts: Any, args: Any) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def value(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in jaxpr.eqns:
        out = _apply(equation, [value(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, out, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, args: list[Any]) -> list[Any]:
    params = equation.params
    kind = equation.primitive.name
    if kind == "scan":
        return _scan(equation, params, args)
    if kind == "while":
        return _while(params, args)
    if kind == "cond":
        index, *operands = args
        return evaluate(
            params["branches"][int(jnp.clip(index, 0, len(params["branches"]) - 1))], operands
        )
    if kind in (
        "jit",
        "pjit",
        "closed_call",
        "custom_jvp_call",
        "custom_vjp_call",
        "checkpoint",
        "remat2",
        "remat",
    ):
        inner = next(
            params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in params
        )
        return evaluate(inner, args) if hasattr(inner, "consts") else _run(inner, (), args)
    out = equation.primitive.bind(*args, **params)
    return list(out) if equation.primitive.multiple_results else [out]


def _num_whole(inside: Any, outside: Any) -> int:
    """How many values have as many axes inside of a loop as outside."""
    pairs = zip(inside, outside, strict=True)
    return sum(len(inner.aval.shape) == len(outer.aval.shape) for inner, outer in pairs)


def _scan(equation: Any, params: Any, args: list[Any]) -> list[Any]:
    # The body sees one slice of the xs and ys. Versions of JAX differ in how they count them.
    body = params["jaxpr"].jaxpr
    carried = _num_whole(body.outvars, equation.outvars)
    fixed = _num_whole(body.invars, equation.invars) - carried
    consts, carry, xs = args[:fixed], args[fixed : fixed + carried], args[fixed + carried :]
    steps = range(params["length"])
    ys = []
    for i in reversed(steps) if params["reverse"] else steps:
        out = evaluate(params["jaxpr"], [*consts, *carry, *(x[i] for x in xs)])
        carry = out[:carried]
        ys.append(out[carried:])
    if not ys:
        empty = [
            jnp.zeros((0, *aval.shape), aval.dtype) for aval in params["jaxpr"].out_avals[carried:]
        ]
        return [*carry, *empty]
    return [
        *carry,
        *(jnp.stack(y) for y in zip(*(reversed(ys) if params["reverse"] else ys), strict=True)),
    ]


def _while(params: Any, args: list[Any]) -> list[Any]:
    conds, bodies = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, carry = (
        args[:conds],
        args[conds : conds + bodies],
        args[conds + bodies :],
    )
    while evaluate(params["cond_jaxpr"], [*cond_consts, *carry])[0]:
        carry = evaluate(params["body_jaxpr"], [*body_consts, *carry])
    return list(carry)
