"""What a block of code binds and reads, and how control leaves it."""

import ast
import textwrap
from dataclasses import dataclass, field


@dataclass
class Flow:
    """Names that a block binds, reads, and reads before it binds them.

    Attributes:
      leaves: the statement that leaves the block, such as `return`, if there is one.
    """

    bound: list[str] = field(default_factory=list[str])
    read: set[str] = field(default_factory=set[str])
    read_first: set[str] = field(default_factory=set[str])
    leaves: str = ""


class _Walk(ast.NodeVisitor):
    """Visits code in the order in which Python runs it."""

    def __init__(self) -> None:
        self.flow = Flow()
        self._depth = 0
        self._functions = 0
        self._loops = 0

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.flow.read.add(node.id)
            if node.id not in self.flow.bound:
                self.flow.read_first.add(node.id)
        elif not self._depth:
            self.flow.bound.append(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        if self._functions:
            return
        # In a comprehension it binds a name of the block around.
        self.flow.bound.append(node.target.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.visit(ast.Name(node.target.id, ast.Load()))
        self.visit(node.value)
        self.visit(node.target)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        self._loops += 1
        for statement in node.body:
            self.visit(statement)
        self._loops -= 1
        for statement in node.orelse:
            self.visit(statement)

    def visit_While(self, node: ast.While) -> None:
        self._loops += 1
        self.generic_visit(node)
        self._loops -= 1

    def visit_comprehension_scope(self, node: ast.AST) -> None:
        """A comprehension, lambda or function binds names of its own."""
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_ListComp = visit_comprehension_scope  # noqa: N815
    visit_SetComp = visit_comprehension_scope  # noqa: N815
    visit_DictComp = visit_comprehension_scope  # noqa: N815
    visit_GeneratorExp = visit_comprehension_scope  # noqa: N815

    def _visit_function(self, node: ast.AST) -> None:
        self._functions += 1
        self.visit_comprehension_scope(node)
        self._functions -= 1

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._bind(node.name)
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        self._visit_function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        self._visit_function(node)

    def visit_alias(self, node: ast.alias) -> None:
        self._bind(node.asname or node.name.partition(".")[0])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind(node.rest)
        self.generic_visit(node)

    def _bind(self, name: str) -> None:
        if not self._depth:
            self.flow.bound.append(name)

    def visit_Return(self, node: ast.Return) -> None:
        self._leave("return")
        self.generic_visit(node)

    def visit_Yield(self, node: ast.Yield) -> None:
        self._leave("yield")
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._leave("yield")
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._leave("del")
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._leave("async for")

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._leave("async with")

    def visit_Global(self, node: ast.Global) -> None:
        self._leave("global")

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._leave("nonlocal")

    def visit_Break(self, node: ast.Break) -> None:
        if not self._loops:
            self._leave("break")

    def visit_Continue(self, node: ast.Continue) -> None:
        if not self._loops:
            self._leave("continue")

    def visit_Await(self, node: ast.Await) -> None:
        self._leave("await")
        self.generic_visit(node)

    def _leave(self, how: str) -> None:
        if not self._depth:
            self.flow.leaves = how


def flow_of(code: str) -> Flow:
    """Returns what some statements bind and read."""
    walk = _Walk()
    walk.visit(ast.parse(textwrap.dedent(code)))
    return walk.flow
