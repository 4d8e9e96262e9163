"""Which equations of a jaxpr count."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not imported, since it takes long
    from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var


def is_literal(atom: "Var | Literal") -> bool:
    """Whether an input of an equation is a constant, and not a variable."""
    return hasattr(atom, "val")


def live_equations(jaxpr: "Jaxpr", *, effects: bool = False) -> "list[JaxprEqn]":
    """Returns the equations that contribute to the result, in order.

    Args:
      jaxpr: the jaxpr.
      effects: whether an equation with an effect, such as a print, counts as well.

    Returns:
      Some of its equations.
    """
    needed = {var for var in jaxpr.outvars if not is_literal(var)}
    live: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if (effects and eqn.effects) or not needed.isdisjoint(eqn.outvars):
            live.append(eqn)
            needed.update(var for var in eqn.invars if not is_literal(var))
    return live[::-1]
