"""A jaxpr written with loops: equal parts of it become one part in a loop.

A program that makes 40 equal layers has 40 equal initializers, and a chain of 80 keys that are
split off one after the other. XLA compiles each by itself. Here each kind of initializer is written
once, in a `jax.lax.map` over its keys, and the chain is a `jax.lax.scan`.
"""

import itertools
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core import trace_guard
from purestate._core.equations import is_literal

if TYPE_CHECKING:  # not imported, since it takes long
    from jax.extend.core import Jaxpr, JaxprEqn

LONGEST_PERIOD = 12
FEWEST_ROUNDS = 4


class Stack:
    """The results that the steps of a loop have returned for one of its values."""

    def __init__(self, array: Any):
        self.array = array
        self._joined: Any = None

    def row(self, number: int) -> Any:
        """Returns the result of a step."""
        if self.array.ndim < 2:
            return jax.lax.index_in_dim(self.array, number, keepdims=False)
        # All results become one array. So each is one more line in the program, and not two.
        steps, size, *rest = self.array.shape
        if self._joined is None:
            self._joined = jax.lax.reshape(self.array, (steps * size, *rest))
        return jax.lax.slice_in_dim(self._joined, number * size, (number + 1) * size)


class Row(NamedTuple):
    """A value that a loop has returned among others."""

    stack: Stack
    number: int


class Input(NamedTuple):
    """An operand that comes from outside of a part."""

    number: int
    aval: str


class Own(NamedTuple):
    """An operand that an earlier equation of the part has made."""

    equation: int
    output: int


class Constant:
    """An operand that is a literal, equal to others of the same value."""

    def __init__(self, literal: Any):
        self.value = literal.val
        self._key = (str(literal.aval), np.asarray(literal.val).tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Part:
    """Some equations, by where their operands come from.

    Attributes:
      equations: in order.
      operands: for each equation, an `Input`, `Own` or `Constant` for each operand.
      inputs: what comes from outside: variables, and literals that may differ between equal parts.
      form: equal for parts that do the same to their inputs.
    """

    def __init__(self, equations: "Sequence[JaxprEqn]"):
        self.equations = equations
        self.operands: list[tuple[Any, ...]] = []
        self.inputs: list[Any] = []
        self._places: dict[Any, Any] = {}
        forms: list[Hashable] = []
        for number, eqn in enumerate(equations):
            operands = tuple(self._place(eqn, atom) for atom in eqn.invars)
            self.operands.append(operands)
            for output, var in enumerate(eqn.outvars):
                self._places[var] = Own(number, output)
            params = tuple((name, _hashable(value)) for name, value in sorted(eqn.params.items()))
            forms.append((eqn.primitive.name, params, operands, _hashable(eqn.ctx)))
        self.form: Hashable = tuple(forms)

    def _place(self, eqn: "JaxprEqn", atom: Any) -> Any:
        if is_literal(atom):
            # What a path is as a number differs from variable to variable.
            if eqn.primitive.name != "random_fold_in":
                return Constant(atom)
            self.inputs.append(atom)
            return Input(len(self.inputs) - 1, str(atom.aval))
        if atom not in self._places:
            self.inputs.append(atom)
            self._places[atom] = Input(len(self.inputs) - 1, str(atom.aval))
        return self._places[atom]

    def place_of(self, var: Any) -> Any:
        """Returns where a variable is in this part."""
        return self._places[var]

    def run(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """Returns the results of each equation."""
        made: list[list[Any]] = []
        for eqn, operands in zip(self.equations, self.operands, strict=True):
            values = [_found(operand, inputs, made) for operand in operands]
            made.append(list(trace_guard.run_equation(eqn, values)))
        return made


def run_rolled(jaxpr: "Jaxpr", equations: "list[JaxprEqn]", values: dict[Any, Any]) -> list[Any]:
    """Returns the results of a jaxpr, computed with loops where parts of it are equal.

    Args:
      jaxpr: the jaxpr.
      equations: those of its equations that its results need.
      values: of its inputs and constants.

    Returns:
      A list of arrays.
    """
    shared, own = _parted(jaxpr, equations)
    groups: dict[Hashable, list[tuple[Any, Part]]] = {}
    for result, part in own.items():
        groups.setdefault((part.form, part.place_of(result)), []).append((result, part))
    shared += _join(groups)
    values = dict(values)
    of_results = [part.inputs for group in groups.values() for _, part in group]
    _run_chain(shared, [*jaxpr.outvars, *itertools.chain(*of_results)], values)
    for group in groups.values():
        _run_group(group, values)
    return [_value(var, values) for var in jaxpr.outvars]


def _hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return id(value)  # the jaxpr keeps it
    return (type(value), value)


def _found(operand: Any, inputs: Sequence[Any], made: list[list[Any]]) -> Any:
    if isinstance(operand, Input):
        return inputs[operand.number]
    return (
        operand.value if isinstance(operand, Constant) else made[operand.equation][operand.output]
    )


def _value(atom: Any, values: dict[Any, Any]) -> Any:
    if is_literal(atom):
        return atom.val
    value = values[atom]
    if isinstance(value, Row):
        value = values[atom] = value.stack.row(value.number)
    return value


def _parted(
    jaxpr: "Jaxpr", equations: "list[JaxprEqn]"
) -> "tuple[list[JaxprEqn], dict[Any, Part]]":
    """Returns the equations that several results need, and for each result those of its own."""
    several = object()
    owner: dict[Any, Any] = {var: var for var in jaxpr.outvars if not is_literal(var)}
    own: dict[Any, list[JaxprEqn]] = {}
    shared: list[JaxprEqn] = []
    for eqn in reversed(equations):
        owners = {owner[var] for var in eqn.outvars if var in owner}
        of = owners.pop() if len(owners) == 1 else several
        (shared if of is several else own.setdefault(of, [])).append(eqn)
        for atom in eqn.invars:
            if not is_literal(atom):
                owner[atom] = of if owner.get(atom, of) is of else several
    return shared[::-1], {result: Part(part[::-1]) for result, part in own.items()}


def _join(groups: dict[Hashable, list[tuple[Any, Part]]]) -> "list[JaxprEqn]":
    """Puts a result into the group that does the same in its last equations.

    The last key of a chain is split off for one result only, so that it counts as its own.

    Returns:
      The equations before those.
    """
    before: list[JaxprEqn] = []
    for form in [form for form, group in groups.items() if len(group) == 1]:
        ((result, part),) = groups[form]
        for other in groups:
            start = len(part.equations) - len(other[0])  # pyright: ignore
            if start > 0 and len(groups[other]) > 1:
                end = Part(part.equations[start:])
                if (end.form, end.place_of(result)) == other:
                    groups[other].append((result, end))
                    before += part.equations[:start]
                    del groups[form]
                    break
    return before


def _run_group(group: list[tuple[Any, Part]], values: dict[Any, Any]) -> None:
    """Computes equal parts: one of them, or all in a loop over the inputs that differ."""
    result, first = group[0]
    place = first.place_of(result)
    columns = list(zip(*(part.inputs for _, part in group), strict=True))
    differs = [len({id(atom) for atom in column}) > 1 for column in columns]
    fixed = [None if d else _value(c[0], values) for c, d in zip(columns, differs, strict=True)]

    def one(row: list[Any]) -> Any:
        rest = iter(row)
        inputs = [next(rest) if d else value for d, value in zip(differs, fixed, strict=True)]
        return _found(place, inputs, first.run(inputs))

    if not any(differs):
        value = one([])
        values.update((result, value) for result, _ in group)
        return
    stacks = [_stacked(c, values) for c, d in zip(columns, differs, strict=True) if d]
    results = Stack(jax.lax.map(one, stacks))
    values.update((result, Row(results, i)) for i, (result, _) in enumerate(group))


def _stacked(atoms: Sequence[Any], values: dict[Any, Any]) -> Any:
    """Returns values as one array; if one loop has made them all, straight from its results."""
    if all(map(is_literal, atoms)):
        return np.stack([np.asarray(atom.val) for atom in atoms])
    found = [values[atom] for atom in atoms if not is_literal(atom)]
    rows = [value for value in found if isinstance(value, Row)]
    if len(rows) == len(atoms) and len({id(row.stack) for row in rows}) == 1:
        return rows[0].stack.array[np.array([row.number for row in rows])]
    return jnp.stack([jnp.asarray(_value(atom, values)) for atom in atoms])


# The chain of keys


def _run_chain(equations: "list[JaxprEqn]", wanted: Sequence[Any], values: dict[Any, Any]) -> None:
    """Computes equations in order, and those that repeat themselves in a loop.

    Args:
      equations: some that several results need.
      wanted: those of their results that are used outside.
      values: of their operands; their own are added.
    """
    used_last = {
        atom: t for t, eqn in enumerate(equations) for atom in eqn.invars if not is_literal(atom)
    }
    used_last.update((atom, len(equations)) for atom in wanted if not is_literal(atom))
    maker = {var: (t, i) for t, eqn in enumerate(equations) for i, var in enumerate(eqn.outvars)}
    forms = [_form_in_chain(eqn, t, maker) for t, eqn in enumerate(equations)]
    t = 0
    while t < len(equations):
        period, length = _repetition(forms, t)
        if length:
            rounds = equations[t : t + length]
            t += length
            made = [var for eqn in rounds for var in eqn.outvars]
            _run_rounds(rounds, period, {var for var in made if used_last.get(var, 0) >= t}, values)
            continue
        eqn = equations[t]
        inputs = [_value(atom, values) for atom in eqn.invars]
        values.update(zip(eqn.outvars, trace_guard.run_equation(eqn, inputs), strict=True))
        t += 1


def _form_in_chain(eqn: "JaxprEqn", t: int, maker: dict[Any, tuple[int, int]]) -> Hashable:
    operands: list[Hashable] = []
    for atom in eqn.invars:
        if is_literal(atom):
            operands.append(Constant(atom))
        elif atom in maker:
            at, output = maker[atom]
            operands.append(Own(t - at, output))  # how many equations before this one
        else:
            operands.append(id(atom))
    params = tuple((name, _hashable(value)) for name, value in sorted(eqn.params.items()))
    avals = tuple(str(atom.aval) for atom in (*eqn.invars, *eqn.outvars))
    return (eqn.primitive.name, params, tuple(operands), avals, _hashable(eqn.ctx))


def _repetition(forms: list[Any], t: int) -> tuple[int, int]:
    """Returns the period with which equations from `t` on repeat themselves, and how many do.

    The first round may take from outside what the others take from the round before. The last one
    may be shorter.
    """
    for period in range(1, LONGEST_PERIOD + 1):
        second = t + period
        end = second
        while end + period < len(forms) and forms[end] == forms[end + period]:
            end += 1
        length = end + period - t
        if length >= FEWEST_ROUNDS * period and all(
            _is_first_round_of(forms[t + q], forms[second + q], q, period) for q in range(period)
        ):
            return period, length
    return 0, 0


def _is_first_round_of(first: Any, later: Any, q: int, period: int) -> bool:
    """Whether an equation does what the one a round later does."""
    if first[:2] != later[:2] or first[3:] != later[3:] or len(first[2]) != len(later[2]):
        return False
    for a, b in zip(first[2], later[2], strict=True):
        if isinstance(b, Own) and q < b.equation:
            if b.equation - q > period:
                return False
        elif a != b:
            return False
    return True


def _run_rounds(
    equations: "list[JaxprEqn]", period: int, wanted: set[Any], values: dict[Any, Any]
) -> None:
    """Computes equations that repeat themselves with a period, and keeps the wanted results."""
    kept = {
        (n % period, i): None
        for n, eqn in enumerate(equations)
        for i, var in enumerate(eqn.outvars)
        if var in wanted
    }
    first, second = Part(equations[:period]), Part(equations[period : 2 * period])
    made = {
        var: (q, i) for q, eqn in enumerate(first.equations) for i, var in enumerate(eqn.outvars)
    }
    # Where each input of the second round is made in the first; None if it comes from outside.
    carried = [None if is_literal(atom) else made.get(atom) for atom in second.inputs]
    in_first = dict(_inputs_of_first(first, second))
    fixed = [
        None if place else _value(atom, values)
        for place, atom in zip(carried, second.inputs, strict=True)
    ]
    start = [_value(in_first[number], values) for number, place in enumerate(carried) if place]

    def one(carry: list[Any], _: None) -> Any:
        rest = iter(carry)
        inputs = [
            next(rest) if place else value for place, value in zip(carried, fixed, strict=True)
        ]
        results = second.run(inputs)
        return (
            [results[place[0]][place[1]] for place in carried if place],
            {(q, i): results[q][i] for q, i in kept},
        )

    _, results = jax.lax.scan(one, start, None, length=-(-len(equations) // period))
    stacks = {place: Stack(array) for place, array in results.items()}
    for number, eqn in enumerate(equations):
        for i, var in enumerate(eqn.outvars):
            if var in wanted:
                values[var] = Row(stacks[number % period, i], number // period)


def _inputs_of_first(first: Part, second: Part) -> "list[tuple[int, Any]]":
    """Returns, for each input of the second round, what the first has in its place."""
    return [
        (operand.number, atom)
        for eqn, operands in zip(first.equations, second.operands, strict=True)
        for atom, operand in zip(eqn.invars, operands, strict=True)
        if isinstance(operand, Input)
    ]
