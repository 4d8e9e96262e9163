"""Equations that contain a program."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # not imported, since it takes long
    from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

# Primitives that run one jaxpr with the same inputs and outputs, and the parameter with the jaxpr.
_BODIES = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "call_jaxpr",
    "shard_map": "jaxpr",
    "xla_pmap": "call_jaxpr",
    "scan": "jaxpr",
}


class Body(NamedTuple):
    """The program that an equation runs.

    Attributes:
      name: the name to show.
      jaxpr: the program. Its inputs and outputs are those of the equation.
      times: how often it runs.
    """

    name: str
    jaxpr: "Jaxpr"
    times: int


# Recognized by its name, since its class takes long to import.
def is_dropped(variable: "Var") -> bool:
    """Whether nothing uses this result of an equation."""
    return type(variable).__name__ == "DropVar"


def opened(jaxpr: "Jaxpr | ClosedJaxpr") -> "Jaxpr":
    """Returns a jaxpr without its constants."""
    return getattr(jaxpr, "jaxpr", jaxpr)  # pyright: ignore[reportReturnType]


def body_of(eqn: "JaxprEqn") -> Body | None:
    """Returns the program that an equation runs; None for all other equations."""
    primitive, params = eqn.primitive.name, eqn.params
    if primitive not in _BODIES or _BODIES[primitive] not in params:
        return None
    jaxpr = opened(params[_BODIES[primitive]])
    times = 1
    if primitive == "scan":
        name = f"scan length={params['length']} unroll={params['unroll']}"
        times = params["length"]
    elif primitive == "shard_map":
        name = primitive
        times = params["mesh"].size
    elif primitive in ("checkpoint", "remat2"):
        name = "remat"
    elif primitive in ("jit", "pjit"):
        name = params["name"]
    else:
        name = primitive.removesuffix("_jaxpr").removesuffix("_call")
    return Body(name, jaxpr, times)


def is_inlined(eqn: "JaxprEqn") -> bool:
    """Whether an equation is a call of a function compiled with `jax.jit(..., inline=True)`."""
    inline = eqn.params.get("inline", False)
    # Since JAX 0.12 it is an enumeration, which has "auto" for False.
    return inline if isinstance(inline, bool) else inline.value != "auto"
