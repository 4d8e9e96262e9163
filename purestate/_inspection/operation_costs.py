"""What a function costs: operations on floats and bytes, by module, from its jaxpr."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from purestate._core.abstract import function_of_arrays
from purestate._core.equations import live_equations
from purestate._core.errors import ArgumentError, kind_of
from purestate._core.path import ROOT
from purestate._inspection.equation_costs import (
    PRODUCTS,
    UNKNOWN,
    bytes_of,
    flops_of_others,
)
from purestate._inspection.jaxpr_info import format_number
from purestate._inspection.subprograms import body_of, opened

OTHER = "other"

# A name of JAX's scopes is `transpose(jvp(encoder))/linear`.
_TRANSFORM = re.compile(r"[\w.]+\(|\)")
_RECOMPUTED = "rematted_computation"


class OperationCost(NamedTuple):
    """What one kind of operation costs in one module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.operation_costs(jnp.dot)(jnp.ones([2, 3]), jnp.ones([3, 4])).rows
    (OperationCost('~', 'dot_general', calls=1, flops=48, bytes=104),)

    Attributes:
      path: the names of the modules and methods around it, `"encoder/linear"`; `"~"` outside any.
        It has no `~` between modules.
      operation: `"dot_general"` or `"conv_general_dilated"`; `"other"` for the rest.
      calls: how often it runs.
      flops: its floating point operations.
      bytes: the size of its operands and results.
      backward: whether it belongs to the backward pass.
      at_least: whether it may cost more, since a loop has no fixed length, or JAX does not describe
        a kernel.
    """

    path: str
    operation: str
    calls: int
    flops: int
    bytes: int
    backward: bool = False
    at_least: bool = False

    def __repr__(self) -> str:
        marks = "".join(f", {m}=True" for m in ("backward", "at_least") if getattr(self, m))
        return (
            f"OperationCost({self.path!r}, {self.operation!r}, calls={self.calls},"
            f" flops={self.flops}, bytes={self.bytes}{marks})"
        )


class ModuleCost(NamedTuple):
    """What a module costs, with all modules in it.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.operation_costs(jnp.dot)(jnp.ones([2, 3]), jnp.ones([3, 4])).by_module()["~"]
    ModuleCost(flops=48, product_flops=48, backward_flops=0, bytes=104)

    Attributes:
      flops: its floating point operations.
      product_flops: those of matrix products and convolutions.
      backward_flops: those of the backward pass.
      bytes: the size of the operands and results of its operations.
    """

    flops: int
    product_flops: int
    backward_flops: int
    bytes: int


class OperationCosts:
    """What a function costs; `print` shows a table.

    >>> import jax.numpy as jnp, purestate as ps
    >>> costs = ps.operation_costs(jnp.dot)(jnp.ones([2, 3]), jnp.ones([3, 4]))
    >>> costs.flops, costs.bytes
    (48, 104)

    Args:
      rows: the costs.

    Attributes:
      rows: one `OperationCost` for each module, operation and direction.
    """

    def __init__(self, rows: tuple[OperationCost, ...]):
        self.rows = rows

    @property
    def flops(self) -> int:
        """All floating point operations."""
        return _total(self.rows).flops

    @property
    def product_flops(self) -> int:
        """The floating point operations of matrix products and convolutions."""
        return _total(self.rows).product_flops

    @property
    def backward_flops(self) -> int:
        """The floating point operations of the backward pass."""
        return _total(self.rows).backward_flops

    @property
    def bytes(self) -> int:
        """The size of the operands and results of all operations."""
        return _total(self.rows).bytes

    @property
    def at_least(self) -> bool:
        """Whether the function may cost more; see `OperationCost`."""
        return any(row.at_least for row in self.rows)

    def by_module(self) -> dict[str, ModuleCost]:
        """Returns what each module costs, with all modules in it.

        Returns:
          `{path: cost}`; `"~"` is outside any module.
        """
        inside: dict[str, list[OperationCost]] = {}
        for row in self.rows:
            parts = row.path.split("/")
            for depth in range(1, len(parts) + 1):
                inside.setdefault("/".join(parts[:depth]), []).append(row)
        return {path: _total(rows) for path, rows in inside.items()}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the costs as dicts, for a table of another library."""
        return [row._asdict() for row in self.rows]

    def __repr__(self) -> str:
        lines = [("path", "operation", "pass", "calls", "FLOPs", "bytes")]
        for row in self.rows:
            lines.append(
                (
                    row.path,
                    row.operation,
                    "backward" if row.backward else "forward",
                    str(row.calls),
                    _short(row.flops, "FLOP", row.at_least),
                    _short(row.bytes, "B", row.at_least),
                )
            )
        totals = (_short(self.flops, "FLOP", self.at_least), _short(self.bytes, "B", self.at_least))
        lines.append(("total", "", "", "", *totals))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_aligned(line, widths) for line in lines)


def _total(rows: Any) -> ModuleCost:
    return ModuleCost(
        sum(row.flops for row in rows),
        sum(row.flops for row in rows if row.operation != OTHER),
        sum(row.flops for row in rows if row.backward),
        sum(row.bytes for row in rows),
    )


def _short(number: int, unit: str, at_least: bool) -> str:
    return (">= " if at_least else "") + format_number(number, unit)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    words = [word.ljust(width) for word, width in zip(line[:3], widths[:3], strict=True)]
    words += [word.rjust(width) for word, width in zip(line[3:], widths[3:], strict=True)]
    return "  ".join(words).rstrip()


def operation_costs(f: Callable[..., Any]) -> Callable[..., OperationCosts]:
    """Returns a function that counts the operations of `f` by module. It computes nothing.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([64, 10])(x))
    >>> x = jnp.ones([32, 100])
    >>> params = f.init(jax.random.key(0), x)
    >>> ps.operation_costs(f.apply)(params, None, x)
    path          operation    pass     calls        FLOPs     bytes
    mlp/linear_0  dot_general  forward      1  409.6 kFLOP  46.59 kB
    mlp/linear_0  other        forward      2  2.048 kFLOP  33.02 kB
    mlp           other        forward      1  2.048 kFLOP  16.38 kB
    mlp/linear_1  dot_general  forward      1  40.96 kFLOP  12.03 kB
    mlp/linear_1  other        forward      2     320 FLOP   5.16 kB
    total                                        455 kFLOP  113.2 kB

    The costs are those of the jaxpr. A matrix product of `[m, k]` and `[k, n]` counts `2 * m * k *
    n`, a convolution two for each element of the output and each element of the kernel that it
    sees. Other arithmetic on floats counts one for each element; moving data counts none. A scan
    counts its length, a `shard_map` all its devices, a `cond` its most expensive branch, and a
    `while_loop` one step, which `at_least` marks. `bytes` is what the operations would read and
    write one by one. XLA fuses them, so that less goes through memory.

    Args:
      f: a pure function, such as `f.apply`, `f.init`, or `jax.grad(loss)`.

    Returns:
      A function of the arguments of `f` that returns its `OperationCosts`. Arrays may be
        `jax.ShapeDtypeStruct`s; other arguments stay Python values.

    Raises:
      ArgumentError: `f` is not a function.
    """
    if not callable(f):
        raise ArgumentError(
            f"`ps.operation_costs` takes a function, but was given {kind_of(f)}. Of a pair of"
            " functions give it one: `ps.operation_costs(f.apply)(params, rng, x)`."
        )

    def costs(*args: Any, **kwargs: Any) -> OperationCosts:
        run, arrays = function_of_arrays(f, args, kwargs)
        counts = _Counts()
        _count(opened(jax.make_jaxpr(run)(arrays)), _Place(ROOT, False, 1, False), counts)
        return OperationCosts(counts.rows())

    return costs


class _Place(NamedTuple):
    """The surroundings of an equation."""

    path: str
    backward: bool
    times: int
    at_least: bool

    def around(self, eqn: Any) -> "_Place":
        """The place of an equation of a program that is here; its scopes begin in the program."""
        scopes = str(eqn.source_info.name_stack)
        outer = [] if self.path == ROOT else [self.path]
        # jnp.einsum makes a scope of its equation, which is not the name of a module.
        parts = _TRANSFORM.sub("", scopes).split("/")
        names = [name for name in parts if name and "->" not in name]
        path = "/".join(outer + [name for name in names if name != _RECOMPUTED]) or ROOT
        return self._replace(path=path, backward=self.backward or "transpose(" in scopes)


class _Counts:
    """Adds up costs by path, operation and direction."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, bool], OperationCost] = {}

    def add(self, cost: OperationCost) -> None:
        key = cost.path, cost.operation, cost.backward
        old = self._of.get(key)
        if old is not None:
            cost = cost._replace(
                calls=old.calls + cost.calls,
                flops=old.flops + cost.flops,
                bytes=old.bytes + cost.bytes,
                at_least=old.at_least or cost.at_least,
            )
        self._of[key] = cost

    def rows(self) -> tuple[OperationCost, ...]:
        return tuple(self._of.values())


def _count(jaxpr: Any, place: _Place, counts: _Counts) -> None:
    for eqn in live_equations(jaxpr, effects=True):
        here, name = place.around(eqn), eqn.primitive.name
        body = body_of(eqn)
        if body is not None:
            times = here.times * _times(eqn, body.times)
            _count(body.jaxpr, here._replace(times=times), counts)
        elif name == "while":
            for part in ("cond_jaxpr", "body_jaxpr"):
                _count(opened(eqn.params[part]), here._replace(at_least=True), counts)
        elif name == "cond":
            for cost in _most_expensive(eqn.params["branches"], here):
                counts.add(cost)
        else:
            counts.add(_cost(eqn, here))


def _times(eqn: Any, times: int) -> int:
    """How often the program of an equation runs; a `shard_map` over some axes only for those."""
    params = eqn.params
    # It has had two names.
    manual = params.get("manual_axes", params.get("newly_manual_axes"))
    if eqn.primitive.name != "shard_map" or manual is None:
        return times
    sizes: Mapping[Any, int] = params["mesh"].shape
    return math.prod(sizes[axis] for axis in manual)


def _most_expensive(branches: Any, place: _Place) -> tuple[OperationCost, ...]:
    costs: list[tuple[OperationCost, ...]] = []
    for branch in branches:
        counts = _Counts()
        _count(opened(branch), place, counts)
        costs.append(counts.rows())
    return max(costs, key=lambda rows: (_total(rows).flops, _total(rows).bytes))


def _cost(eqn: Any, place: _Place) -> OperationCost:
    name = eqn.primitive.name
    formula = PRODUCTS.get(name)
    flops = flops_of_others(eqn) if formula is None else formula(eqn)
    return OperationCost(
        place.path,
        OTHER if formula is None else name,
        place.times,
        place.times * flops,
        place.times * bytes_of(eqn),
        place.backward,
        place.at_least or name in UNKNOWN,
    )
