"""Which outputs of a program for one shard differ from shard to shard."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # not imported, since it takes long
    from jax.extend.core import Jaxpr, JaxprEqn

Axes = frozenset[Any]
_NONE: Axes = frozenset()


class Exchanged(NamedTuple):
    """Stands among the axes of a value that the shards along `axis` may have made the same.

    A ring of `ppermute` can add up the values of all shards. Whether it does is not known here.
    """

    axis: Any


# All shards get the same value. Each of these has a twin that ends in "_start".
_COMBINING = {
    "all_gather",
    "all_gather_invariant",
    "all_gather_reduced",
    "pbroadcast",
    "pmax",
    "pmin",
    "psum",
    "psum_invariant",
    "unreduced_psum",
}
_EXCHANGING = {"all_to_all", "ppermute", "ragged_all_to_all"}
# A kernel with one of these may reach other devices.
_IN_KERNELS = {"dma_start", "semaphore_signal"}


def varying(jaxpr: "Jaxpr", inputs: Sequence[Axes]) -> list[Axes]:
    """Returns the axes along which each output may differ.

    The results of an equation differ along the axes of its operands. Collectives remove axes.

    Args:
      jaxpr: the program of one shard.
      inputs: the axes along which each input differs.
    """
    known: dict[Any, Axes] = dict(zip(jaxpr.invars, inputs, strict=True))

    def axes_of(atom: Any) -> Axes:
        # Literals are the same everywhere, and so are constants: shards close over whole arrays.
        return _NONE if hasattr(atom, "val") else known.get(atom, _NONE)

    for eqn in jaxpr.eqns:
        operands = [axes_of(atom) for atom in eqn.invars]
        rule = _RULES.get(_plain_name(eqn), _by_body)
        known.update(zip(eqn.outvars, rule(eqn, operands), strict=True))
    return [axes_of(atom) for atom in jaxpr.outvars]


def _all(axes: Sequence[Axes]) -> Axes:
    return _NONE.union(*axes)


def _plain_name(eqn: "JaxprEqn") -> str:
    return eqn.primitive.name.removesuffix("_start")


def _names(params: dict[str, Any]) -> set[Any]:
    """The axes of a collective."""
    names = params.get("axes", params.get("axis_name", ()))
    return set(names) if isinstance(names, (tuple, list, set, frozenset)) else {names}


def _combined(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    if eqn.params.get("axis_index_groups") is not None:
        return operands  # groups differ from each other
    gone = _names(eqn.params)
    gone |= {Exchanged(name) for name in gone}
    return [axes - gone for axes in operands]


def _exchanged(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    axes = _all(operands) | {Exchanged(name) for name in _names(eqn.params)}
    return [axes] * len(eqn.outvars)


def _index(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    del operands
    return [frozenset(_names(eqn.params))]


def _until_stable(step: Callable[[list[Axes]], list[Axes]], carry: list[Axes]) -> list[Axes]:
    """What a loop carries, after as many steps as add an axis."""
    while True:
        after = [old | new for old, new in zip(carry, step(carry), strict=True)]
        if after == carry:
            return carry
        carry = after


def _scan(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    body = _opened(eqn.params["jaxpr"])
    # The body sees one slice of the xs and ys. Versions of JAX differ in how they count them.
    n_carry = _num_whole(body.outvars, eqn.outvars)
    n_consts = _num_whole(body.invars, eqn.invars) - n_carry
    consts, carry = operands[:n_consts], operands[n_consts : n_consts + n_carry]
    xs = operands[n_consts + n_carry :]

    def step(carry: list[Axes]) -> list[Axes]:
        return varying(body, [*consts, *carry, *xs])

    carry = _until_stable(lambda carry: step(carry)[:n_carry], carry)
    return [*carry, *step(carry)[n_carry:]]


def _num_whole(inside: Sequence[Any], outside: Sequence[Any]) -> int:
    """How many values have as many axes inside of a loop as outside."""
    pairs = zip(inside, outside, strict=True)
    return sum(len(inner.aval.shape) == len(outer.aval.shape) for inner, outer in pairs)


def _while(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    condition, body = _opened(eqn.params["cond_jaxpr"]), _opened(eqn.params["body_jaxpr"])
    n_condition, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    of_condition = operands[:n_condition]
    of_body = operands[n_condition : n_condition + n_body]

    def step(carry: list[Axes]) -> list[Axes]:
        (goes_on,) = varying(condition, [*of_condition, *carry])
        return [goes_on | axes for axes in varying(body, [*of_body, *carry])]

    return _until_stable(step, operands[n_condition + n_body :])


def _cond(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    index, *others = operands
    branches = [varying(_opened(branch), others) for branch in eqn.params["branches"]]
    return [index.union(*outs) for outs in zip(*branches, strict=True)]


def _shard_map(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    """Inside are more axes, and none of them comes out."""
    inner = eqn.params["newly_manual_axes"]
    specs = map(mentioned, eqn.params["in_specs"])
    inputs = [axes | spec for axes, spec in zip(operands, specs, strict=True)]
    gone = set(inner) | {Exchanged(name) for name in inner}
    return [axes - gone for axes in varying(_opened(eqn.params["jaxpr"]), inputs)]


def _by_body(eqn: "JaxprEqn", operands: list[Axes]) -> list[Axes]:
    """Any other equation: through its program if it has one of the same form, as `jit` has."""
    bodies = list(_bodies(eqn.params))
    if len(bodies) == 1:
        (body,) = bodies
        if len(body.invars) == len(operands) and len(body.outvars) == len(eqn.outvars):
            return varying(body, operands)
    axes = _all(operands)
    # How these programs run is not known here, so neither is what their collectives do.
    if any(map(_has_collectives, bodies)):
        axes |= {Exchanged(name) for name in axes}
    return [axes] * len(eqn.outvars)


def _has_collectives(jaxpr: "Jaxpr") -> bool:
    return any(
        _plain_name(eqn) in _COMBINING | _EXCHANGING
        or eqn.primitive.name in _IN_KERNELS
        or any(map(_has_collectives, _bodies(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _bodies(params: dict[str, Any]) -> "Iterator[Jaxpr]":
    for value in params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(_opened(part), "eqns"):
                yield _opened(part)


def _opened(jaxpr: Any) -> "Jaxpr":
    """A jaxpr without its constants."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def mentioned(spec: Any) -> Axes:
    """Returns the axes that a `PartitionSpec` mentions."""
    parts = [part if isinstance(part, tuple) else (part,) for part in spec if part is not None]
    return frozenset(name for part in parts for name in part)


_RULES: dict[str, Callable[["JaxprEqn", list[Axes]], list[Axes]]] = {
    **dict.fromkeys(_COMBINING, _combined),
    **dict.fromkeys(_EXCHANGING, _exchanged),
    "axis_index": _index,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "shard_map": _shard_map,
}
