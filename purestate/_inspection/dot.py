"""Draws a function: its operations, in boxes for their modules."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import jax

from purestate._core.abstract import function_of_arrays, is_array
from purestate._core.equations import is_literal
from purestate._core.frame import ambient
from purestate._core.hooks import MethodContext, intercept_methods
from purestate._editing.array_format import format_array
from purestate._inspection.subprograms import body_of, is_inlined, opened
from purestate._inspection.tracing import traced_again
from purestate._lifted.lift_frame import Lifted

# Every method call gets a number, and its equations a scope with this number. So two calls of one
# name stay apart.
_CALL = "purestate_call_"
_CALLS = re.compile(_CALL + r"(\d+)")


@dataclasses.dataclass
class Source:
    """The origin of a value: an operation, an argument, or a constant.

    Attributes:
      name: the name of its node. The nodes of an argument add a number to it, one for each use.
      label: the lines of text on the node.
      is_argument: whether it is an argument, which has a node for each use.
      uses: the number of uses.
    """

    name: str
    label: list[str]
    is_argument: bool = False
    uses: int = 0


@dataclasses.dataclass
class Box:
    """A box of operations: a module's method, or a jitted function.

    Attributes:
      title: the text above it.
      operations: the operations in it.
      boxes: the boxes in it.
      box_of_call: the boxes of method calls in it, by the number of the call.
      open_calls: the calls of this box and of the boxes around it.
    """

    title: str
    operations: list[Source] = dataclasses.field(default_factory=list)
    boxes: list["Box"] = dataclasses.field(default_factory=list)
    box_of_call: dict[int, "Box"] = dataclasses.field(default_factory=dict)
    open_calls: frozenset[int] = frozenset()

    def add(self, title: str) -> "Box":
        self.boxes.append(Box(title, open_calls=self.open_calls))
        return self.boxes[-1]

    def for_call(self, number: int, title: str) -> "Box":
        # A gradient may have a scope twice: for the forward pass and for the backward pass.
        if number in self.open_calls:
            return self
        if number not in self.box_of_call:
            box = self.add(title)
            box.open_calls |= {number}
            self.box_of_call[number] = box
        return self.box_of_call[number]


class _Drawing:
    """The boxes and arrows of a jaxpr."""

    def __init__(self, title: str, titles_of_calls: list[str]):
        self.box = Box(title)
        self.arguments: list[Source] = []
        self.constants: list[Source] = []
        self.arrows: list[tuple[str, str]] = []
        self.outputs: dict[str, list[str]] = {}  # node of an operation -> its places in the result
        self._titles_of_calls = titles_of_calls
        self._numbers = itertools.count()

    def argument(self, label: list[str]) -> Source:
        self.arguments.append(Source(f"argument{len(self.arguments)}_", label, is_argument=True))
        return self.arguments[-1]

    def constant(self, label: str) -> Source:
        self.constants.append(Source(f"constant{len(self.constants)}", [label]))
        return self.constants[-1]

    def run(self, jaxpr: Any, sources: dict[Any, Source], box: Box) -> list[Source]:
        """Draws the equations of `jaxpr` into `box`; returns the sources of its outputs."""

        def source_of(atom: Any) -> Source:
            if is_literal(atom):
                return self.constant(str(atom.val))
            if atom not in sources:  # an array that the function closes over
                sources[atom] = self.constant(_format(atom.aval))
            return sources[atom]

        for eqn in jaxpr.eqns:
            into = box
            for number in map(int, _CALLS.findall(str(eqn.source_info.name_stack))):
                into = into.for_call(number, self._titles_of_calls[number])
            inputs = [source_of(atom) for atom in eqn.invars]
            body = body_of(eqn)
            if body is None:
                outputs = [self._operation(eqn, inputs, into)] * len(eqn.outvars)
            else:
                if not eqn.primitive.name.startswith("custom_") and not is_inlined(eqn):
                    into = into.add(_title(eqn.primitive.name, body.name))
                outputs = self.run(
                    body.jaxpr, dict(zip(body.jaxpr.invars, inputs, strict=True)), into
                )
            sources.update(zip(eqn.outvars, outputs, strict=True))
        return [source_of(atom) for atom in jaxpr.outvars]

    def _operation(self, eqn: Any, inputs: list[Source], box: Box) -> Source:
        label = [eqn.primitive.name, *(_format(var.aval) for var in eqn.outvars)]
        operation = Source(f"operation{next(self._numbers)}", label)
        box.operations.append(operation)
        for source in inputs:
            start = f"{source.name}{source.uses}" if source.is_argument else source.name
            source.uses += 1
            self.arrows.append((start, operation.name))
        return operation

    def lines(self) -> Iterator[str]:
        """Yields the drawing in the language of graphviz."""
        yield "digraph G {"
        yield "rankdir = TD;"
        yield "compound = true;"
        yield f"label = <<b>{escape(self.box.title)}</b>>;"
        yield "labelloc = t;"
        yield 'node [shape=rect, fontname="Helvetica,Arial,sans-serif", fontsize=12];'
        yield from self._lines_of(self.box, itertools.count())
        for source in self.arguments:
            for use in range(source.uses):
                label = source.label if use == 0 else ["(reuse)", *source.label]
                fillcolor = "#FFDEAF" if use == 0 else "#FFEACC"
                yield _node(f"{source.name}{use}", label, color="#FF8A4F", fillcolor=fillcolor)
        for source in self.constants:
            if source.uses:
                yield _node(source.name, source.label, color="#A261FF", fillcolor="#E6D6FF")
        for start, end in self.arrows:
            yield f"{start} -> {end};"
        yield "} // digraph G"

    def _lines_of(self, box: Box, numbers: Iterator[int]) -> Iterator[str]:
        for operation in box.operations:
            if operation.name in self.outputs:
                label = [*self.outputs[operation.name], *operation.label]
                yield _node(
                    operation.name, label, color="#0053D6", fillcolor="#AABFFF", style="filled,bold"
                )
            else:
                yield _node(operation.name, operation.label, color="#FFDB13", fillcolor="#FFF26E")
        for inner in box.boxes:
            yield f"subgraph cluster_{next(numbers)} {{"
            yield (
                '  style="rounded,filled"; fillcolor="#F0F5F5"; color="#14234B"; labelloc = t;'
                " fontsize = 16;"
            )
            yield f"  label = <<b>{escape(inner.title)}</b>>;"
            yield from self._lines_of(inner, numbers)
            yield "}"


def _title(primitive: str, name: str) -> str:
    return (
        name
        if name.startswith(primitive) or primitive.startswith(name)
        else f"{primitive} ({name})"
    )


def _node(name: str, label: list[str], *, color: str, fillcolor: str, style: str = "filled") -> str:
    first, *rest = map(escape, label)
    text = "<br/>".join([f"<b>{first}</b>", *rest])
    return f'{name} [label=<{text}>, style="{style}", color="{color}", fillcolor="{fillcolor}"];'


def _format(aval: Any) -> str:
    return format_array(aval) if hasattr(aval, "shape") and hasattr(aval, "dtype") else str(aval)


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _argument_label(path: Any, value: Any) -> list[str]:
    positional, index, *rest = path
    where = f"args[{index.idx}]" if positional.idx == 0 else index.key
    return [f"{where}: {_path(tuple(rest))}" if rest else where, _format(value)]


def _output_label(path: Any, outputs: Any) -> str:
    where = "output"
    if isinstance(outputs, tuple):
        where, path = f"output[{_path(path[:1])}]", path[1:]
    return f"{where}: {_path(path)}" if path else where


def _is_traced(x: Any) -> bool:
    return is_array(x) or isinstance(x, (float, complex))


def _without_side_effects(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fun` without its effects on the frame, so that a JAX transform may run it."""
    frames = ambient.get()[0]
    if not frames:
        return fun
    frame = frames[-1]
    lifted = Lifted(fun, frame)

    def run(*args: Any, **kwargs: Any) -> Any:
        with lifted.undone():
            return lifted.changing(*args, **kwargs)[0]

    return run


def to_dot(fun: Callable[..., Any]) -> Callable[..., str]:
    """Returns a function that draws the operations of `fun`, in a box for each method call.

    A branch (`cond`) or a loop of unknown length (`while`) is one operation. The drawing is in the
    language of graphviz: `dot -Tsvg` makes a picture of it, and in a notebook
    `graphviz.Source(text)` shows it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(1)(x))
    >>> x = jnp.ones([1, 1])
    >>> text = ps.to_dot(f.apply)(f.init(jax.random.key(0), x), None, x)
    >>> text.splitlines()[0], "dot_general" in text, "<b>linear</b>" in text
    ('digraph G {', True, True)

    Args:
      fun: a function, usually the `apply` of a transformed function.

    Returns:
      A function of the arguments of `fun` that returns the drawing. It computes nothing, so arrays
      may be `jax.ShapeDtypeStruct`s. Bools, ints and other objects stay Python values.
    """

    @functools.wraps(fun)
    def draw(*args: Any, **kwargs: Any) -> str:
        titles: list[str] = []

        def mark(
            next_method: Callable[..., Any], args: Any, kwargs: Any, context: MethodContext
        ) -> Any:
            # In `__init__` the module may not have a path yet.
            path = getattr(context.module, "module_name", type(context.module).__name__)
            titles.append(
                path if context.method_name == "__call__" else f"{path} ({context.method_name})"
            )
            with jax.named_scope(f"{_CALL}{len(titles) - 1}"):
                return next_method(*args, **kwargs)

        run, arrays = function_of_arrays(_without_side_effects(fun), args, kwargs, _is_traced)
        with intercept_methods(mark):
            closed, shapes = jax.make_jaxpr(traced_again(run), return_shape=True)(arrays)
        jaxpr = opened(closed)
        drawing = _Drawing(getattr(fun, "__name__", str(fun)), titles)
        leaves = jax.tree_util.tree_flatten_with_path((args, kwargs))[0]
        labels = [
            _argument_label(path, jax.typeof(leaf)) for path, leaf in leaves if _is_traced(leaf)
        ]
        sources = {
            var: drawing.argument(label) for var, label in zip(jaxpr.invars, labels, strict=True)
        }
        outputs = drawing.run(jaxpr, sources, drawing.box)
        for (path, _), source in zip(
            jax.tree_util.tree_flatten_with_path(shapes)[0], outputs, strict=True
        ):
            drawing.outputs.setdefault(source.name, []).append(_output_label(path, shapes))
        return "\n".join(drawing.lines()) + "\n"

    return draw


def abstract_to_dot(fun: Callable[..., Any]) -> Callable[..., str]:
    """Like `to_dot`, which computes nothing either. dm-haiku has two functions for it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(1)(x))
    >>> x = jax.ShapeDtypeStruct([1, 1], jnp.float32)
    >>> params = jax.eval_shape(f.init, jax.random.key(0), x)
    >>> ps.experimental.abstract_to_dot(f.apply)(params, None, x).startswith("digraph")
    True

    Args:
      fun: a function, usually the `apply` of a transformed function.

    Returns:
      A function of the arguments of `fun`, or of `jax.ShapeDtypeStruct`s in their place, that
        returns the drawing.
    """
    return to_dot(fun)
