"""From `with tf.GradientTape() as tape:` to a function and its gradient."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import PositionProvider, QualifiedNameProvider

from purestate._port.flow import Flow, flow_of
from purestate._port.resolve import imported_name, line_of
from purestate._port.row import Left

UNCONNECTED = (
    "The gradient of a variable that the loss does not depend on is None in TensorFlow, and zeros"
    " here."
)
_HOW = "Write a function that returns the loss, and call `snt.value_and_grad` on it."


class _CannotRewrite(Exception):
    """A tape that is used in a way this tool does not know."""


@dataclass(frozen=True)
class _Use:
    """The statement that asks a tape for gradients.

    Attributes:
      index: its place in the block that the tape is in.
      call: `tape.gradient(loss, sources)`.
      target: the name that the gradients are assigned to, or None if the call is inside a larger
        expression.
    """

    index: int
    call: cst.Call
    target: cst.BaseExpression | None


class TapeRewriter(cst.CSTTransformer):
    """Rewrites each canonical tape of a program.

    Attributes:
      reasons: the line of each tape that is not rewritten, and why.
      rewritten: how many were.
      lines: the lines of those.
    """

    METADATA_DEPENDENCIES = (QualifiedNameProvider, PositionProvider)

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[int, Left] = {}
        self.rewritten: Counter[str] = Counter()
        self.lines: list[int] = []
        self.roots: set[str] = set()
        self._around: list[cst.CSTNode] = []

    def visit_Module(self, node: cst.Module) -> None:
        self._around.append(node)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._around.append(node)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        self._around.pop()
        return updated_node

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(
            body=self._statements(original_node.body, updated_node.body)
        )

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(
            body=self._statements(original_node.body, updated_node.body)
        )

    def _statements(
        self, original: Sequence[cst.BaseStatement], updated: Sequence[cst.BaseStatement]
    ) -> Sequence[cst.BaseStatement]:
        body = list(updated)
        for index in reversed(range(len(original))):
            node, now = original[index], body[index]
            tape = self._tape_of(node)
            if tape is None or not isinstance(now, cst.With):
                continue
            line = line_of(self, node)
            try:
                body[index:] = self._rewritten(node, now, tape, body[index + 1 :])
            except _CannotRewrite as error:
                self.reasons[line] = Left(str(error), _HOW)
            else:
                self.rewritten["tf.GradientTape"] += 1
                self.lines.append(line)
        return body

    def _tape_of(self, node: cst.BaseStatement) -> str | None:
        """Returns the name of the tape of `with tf.GradientTape() as tape:`, "" without a name."""
        if not isinstance(node, cst.With) or len(node.items) != 1:
            return None
        call = node.items[0].item
        if not isinstance(call, cst.Call):
            return None
        if imported_name(self, call.func) != "tf.GradientTape":
            return None
        name = node.items[0].asname
        return name.name.value if name and isinstance(name.name, cst.Name) else ""

    def _rewritten(
        self,
        original: cst.CSTNode,
        node: cst.With,
        tape: str,
        after: list[cst.BaseStatement],
    ) -> list[cst.BaseStatement]:
        call = node.items[0].item
        if isinstance(call, cst.Call) and call.args:
            raise _CannotRewrite("the tape has options")
        use = _use_of(tape, after)
        loss, sources = _arguments_of(use.call)
        watched, statements = _without_watch(tape, node.body)
        flow = flow_of(_code(statements))
        between = flow_of(_code(after[: use.index]))
        _check(flow, between, loss)
        self._check_globals(flow)
        kept = self._kept(flow, original, loss)
        function = self._free_name("loss_fn")
        if watched and not set(_names_in(sources)) <= set(watched):
            raise _CannotRewrite("it watches other arrays than it differentiates by")
        taken = ", ".join(_names_in(sources)) if watched else ""
        self.roots.add("jax" if watched else "snt")
        made = [
            _function(function, taken, node, statements, _returned(loss, kept)),
            *([] if watched else [_build(function)]),
            *after[: use.index],
            _gradient_statement(function, taken, sources, loss, kept, use, after[use.index]),
        ]
        rest = list(after[use.index + 1 :])
        if use.target is None:
            rest.insert(0, _with_name(after[use.index], use.call))
        return [*made, *rest]

    def _check_globals(self, flow: Flow) -> None:
        items = m.findall(self._around[-1], m.NameItem())
        names = {item.name.value for item in items if isinstance(item, cst.NameItem)}
        if assigned := names & set(flow.bound):
            raise _CannotRewrite(f"its block assigns `{min(assigned)}`, a name from outside")

    def _kept(self, flow: Flow, node: cst.CSTNode, loss: str) -> list[str]:
        """Returns the names that the block binds and that code outside of it reads."""
        outside = self._around[-1].deep_replace(node, cst.parse_statement("pass"))
        assert isinstance(outside, cst.CSTNode)
        read = flow_of(_code([outside])).read
        return [name for name in dict.fromkeys(flow.bound) if name in read and name != loss]

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 2
        code = _code([self._around[-1]])
        while name in code:
            name, number = f"{wanted}_{number}", number + 1
        return name


def _code(nodes: Sequence[cst.CSTNode]) -> str:
    return "".join(cst.Module([]).code_for_node(node) for node in nodes)


def _is_method_of(tape: str, method: str) -> m.Call:
    return m.Call(func=m.Attribute(value=m.Name(tape), attr=m.Name(method)))


def _use_of(tape: str, after: Sequence[cst.BaseStatement]) -> _Use:
    """Finds the one statement that uses a tape."""
    if not tape:
        raise _CannotRewrite("the tape has no name")
    again = m.With(items=[m.WithItem(asname=m.AsName(m.Name(tape)))])
    end = next((i for i, node in enumerate(after) if m.matches(node, again)), len(after))
    after = after[:end]
    uses = [i for i, node in enumerate(after) if m.findall(node, m.Name(tape))]
    calls = [call for i in uses for call in m.findall(after[i], _is_method_of(tape, "gradient"))]
    if len(uses) != 1 or len(calls) != 1:
        raise _CannotRewrite("gradients are taken from it more than once, or elsewhere")
    statement, call = after[uses[0]], calls[0]
    assert isinstance(call, cst.Call)
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        raise _CannotRewrite("gradients are taken from it inside another block")
    only = statement.body[0]
    if isinstance(only, cst.Assign) and only.value is call and len(only.targets) == 1:
        return _Use(uses[0], call, only.targets[0].target)
    return _Use(uses[0], call, None)


def _arguments_of(call: cst.Call) -> tuple[str, cst.BaseExpression]:
    names = [arg.keyword.value if arg.keyword else "" for arg in call.args]
    if len(call.args) != 2 or any(arg.star for arg in call.args):
        raise _CannotRewrite("`tape.gradient` has other arguments than a loss and variables")
    by_name = dict(zip(names, call.args, strict=True))
    loss = by_name.get("target", call.args[0]).value
    sources = by_name.get("sources", call.args[1]).value
    if not isinstance(loss, cst.Name):
        raise _CannotRewrite("the loss is not a name")
    return loss.value, sources


def _without_watch(tape: str, body: cst.BaseSuite) -> tuple[list[str], Sequence[cst.BaseStatement]]:
    """Returns the names that `tape.watch` is called on, and the other statements."""
    if not isinstance(body, cst.IndentedBlock):
        raise _CannotRewrite("its block stands on one line")
    watched: list[str] = []
    statements: list[cst.BaseStatement] = []
    lines: list[cst.EmptyLine] = []
    for statement in body.body:
        if m.matches(statement, m.SimpleStatementLine(body=[m.Expr(_is_method_of(tape, "watch"))])):
            call = m.findall(statement, _is_method_of(tape, "watch"))[0]
            assert isinstance(call, cst.Call)
            watched += _names_in(call.args[0].value)
            lines += _lines_of(statement)
        elif m.findall(statement, m.Name(tape)):
            raise _CannotRewrite("the tape is used inside its block")
        else:
            statements.append(_after_lines(statement, lines))
            lines = []
    return watched, statements


def _lines_of(statement: cst.BaseStatement) -> list[cst.EmptyLine]:
    """Returns the comments of a statement that goes, as lines of their own."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    behind = statement.trailing_whitespace.comment
    return [*statement.leading_lines, *([cst.EmptyLine(comment=behind)] if behind else [])]


def _after_lines(statement: cst.BaseStatement, lines: Sequence[cst.EmptyLine]) -> cst.BaseStatement:
    old = getattr(statement, "leading_lines", None)
    return statement if old is None else statement.with_changes(leading_lines=[*lines, *old])


def _names_in(node: cst.BaseExpression) -> list[str]:
    if isinstance(node, cst.List | cst.Tuple):
        return [name for element in node.elements for name in _names_in(element.value)]
    return [node.value] if isinstance(node, cst.Name) else ["?"]


def _check(flow: Flow, between: Flow, loss: str) -> None:
    if flow.leaves:
        raise _CannotRewrite(f"its block has `{flow.leaves}`")
    if loss not in flow.bound:
        raise _CannotRewrite("the loss is not computed in its block")
    if changed := flow.read_first & set(flow.bound):
        raise _CannotRewrite(f"its block changes `{min(changed)}` from before")
    if early := between.read & set(flow.bound):
        raise _CannotRewrite(f"`{min(early)}` is used before the gradients are taken")
    if between.leaves:
        raise _CannotRewrite(f"`{between.leaves}` comes before the gradients are taken")


def _returned(loss: str, kept: Sequence[str]) -> str:
    if not kept:
        return loss
    rest = f"({', '.join(kept)})" if len(kept) > 1 else kept[0]
    return f"{loss}, {rest}"


def _function(
    name: str, taken: str, node: cst.With, statements: Sequence[cst.BaseStatement], returned: str
) -> cst.FunctionDef:
    made = cst.parse_statement(f"def {name}({taken}):\n    return {returned}\n")
    assert isinstance(made, cst.FunctionDef)
    end = made.body.body[0]
    return made.with_changes(
        body=node.body.with_changes(body=[*statements, end]), leading_lines=node.leading_lines
    )


def _build(function: str) -> cst.BaseStatement:
    return _statement(f"snt.build({function})  # creates the variables, if they do not exist")


def _statement(code: str) -> cst.BaseStatement:
    made = cst.parse_statement(code + "\n")
    assert isinstance(made, cst.BaseStatement)
    return made


def _gradient_statement(
    function: str,
    taken: str,
    sources: cst.BaseExpression,
    loss: str,
    kept: Sequence[str],
    use: _Use,
    old: cst.BaseStatement,
) -> cst.BaseStatement:
    """Returns `loss, grads = snt.value_and_grad(loss_fn, variables)()`."""
    target = _code([use.target]) if use.target is not None else "grads"
    if isinstance(use.target, cst.Tuple) and not use.target.lpar:
        target = f"({target})"
    aux = ", has_aux=True" if kept else ""
    value = f"({_returned(loss, kept)})" if kept else loss
    if taken:
        numbers = ", argnums=" + str(tuple(range(len(taken.split(", ")))))
        argnums = numbers if isinstance(sources, cst.List | cst.Tuple) else ""
        computed = f"jax.value_and_grad({function}{argnums}{aux})({taken})"
    else:
        computed = f"snt.value_and_grad({function}, {_code([sources])}{aux})()"
    made = _statement(f"{value}, {target} = {computed}")
    if use.target is None or not isinstance(old, cst.SimpleStatementLine):
        return made
    return made.with_changes(
        leading_lines=old.leading_lines, trailing_whitespace=old.trailing_whitespace
    )


def _with_name(statement: cst.BaseStatement, call: cst.Call) -> cst.BaseStatement:
    made = statement.deep_replace(call, cst.Name("grads"))
    assert isinstance(made, cst.BaseStatement)
    return made
