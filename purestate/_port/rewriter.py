"""Rewrites uses of TensorFlow in one program, by the table."""

from collections import Counter
from collections.abc import Mapping

import libcst as cst
from libcst.metadata import (
    ExpressionContextProvider,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    Scope,
    ScopeProvider,
)

from purestate._port import methods, quoted, variables
from purestate._port.calls import Emission, Facts, decide, finish
from purestate._port.findings import Finding
from purestate._port.fstrings import FStrings
from purestate._port.imports import dotted
from purestate._port.kinds import Kinds
from purestate._port.resolve import (
    ASSIGNED,
    base_of_chain,
    code_of,
    imported_name,
    is_assigned,
    line_of,
    short,
)
from purestate._port.row import Left
from purestate._port.sizes import context_of, joined_as_tuples
from purestate._port.sonnet_names import advice_on_sonnet, is_module_class
from purestate._port.table import advice_on, find_row
from purestate._port.templates import comments_in, fill, roots_in


class TensorFlowRewriter(FStrings):
    """Rewrites what the table knows, and reports the rest.

    Attributes:
      findings: the rest and remarks, with lines of the program that was given.
      roots: the names that new code begins with, so that they can be imported.
      rewritten: how often each name was rewritten.
    """

    METADATA_DEPENDENCIES = (
        QualifiedNameProvider,
        PositionProvider,
        ExpressionContextProvider,
        ParentNodeProvider,
        ScopeProvider,
    )

    def __init__(self, facts: Facts, tapes: Mapping[int, Left]):
        super().__init__()
        self.facts = facts
        self._tapes = tapes
        self.findings: list[Finding] = []
        self.roots: set[str] = set()
        self.rewritten: Counter[str] = Counter()
        self._calls: dict[cst.CSTNode, Emission] = {}
        self._mentions: dict[cst.CSTNode, tuple[str, str]] = {}
        self._untouched: set[int] = set()
        self._classes: list[bool] = []

    # What things are

    @property
    def in_module(self) -> bool:
        """Whether the code is inside a class of modules."""
        return any(self._classes)

    def name_of(self, node: cst.CSTNode) -> str | None:
        """Returns "tf.nn.relu" or "snt.Linear" for a name of these packages, else None."""
        name = imported_name(self, node)
        return name if name and name.partition(".")[0] in ("tf", "snt") else None

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """Returns the node around a node."""
        return self.get_metadata(ParentNodeProvider, node, None)

    def line_of(self, node: cst.CSTNode) -> int:
        """Returns the line that a node begins at."""
        return line_of(self, node)

    def leave_it(self, node: cst.CSTNode, left: Left, code: str = "") -> None:
        """Reports something that stays as it is."""
        self.findings.append(
            Finding(self.line_of(node), code or code_of(node), left.reason, left.instead)
        )

    def remark(self, node: cst.CSTNode, code: str, text: str) -> None:
        """Reports something to know about a line that was rewritten."""
        if text:
            self.findings.append(Finding(self.line_of(node), code, text, kind="remark"))

    def kind_of(self, node: cst.BaseExpression) -> str:
        """Returns what code makes: "list", "array", or "" if it is not known."""
        scope = self.get_metadata(ScopeProvider, node, None)
        return Kinds(self.parent, self.name_of, scope if isinstance(scope, Scope) else None).of(
            node
        )

    def leave_untouched(self, node: cst.CSTNode) -> None:
        """Notes that a name is part of a call that is rewritten as a whole."""
        self._untouched.add(id(node))

    def count(self, name: str, template: str) -> None:
        """Notes that a name was rewritten."""
        self.rewritten[name] += 1
        self.roots |= roots_in(template)

    # Walking down: decide

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        is_star = isinstance(node.names, cst.ImportStar)
        if is_star and short(dotted(node.module)).partition(".")[0] == "tf":
            self.leave_it(node, _STAR)
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._classes.append(is_module_class(node, self.name_of, self.facts.module_classes))

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        if node.name.value in self.facts.pipelines:
            left = Left(
                "the function runs inside an input pipeline of TensorFlow",
                "Keep it; the pipeline stays in TensorFlow.",
            )
            if "tf." in cst.Module([]).code_for_node(node):
                self.leave_it(node.name, left, f"def {node.name.value}")
            return False
        return True

    def visit_Decorator(self, node: cst.Decorator) -> bool:
        call = node.decorator
        name = self.name_of(call.func if isinstance(call, cst.Call) else call)
        if name == "tf.function":
            self._decide_function(node)
            return False
        return True

    def _decide_function(self, node: cst.Decorator) -> None:
        if self._classes:
            self.leave_it(
                node,
                Left(
                    "a compiled method would take its object for an array",
                    "Drop it, and compile the function that calls the method.",
                ),
            )
            return
        call = node.decorator
        if isinstance(call, cst.Call) and any(arg.star or not arg.keyword for arg in call.args):
            left = Left("its options are known only at run time", "Give `jax.jit` its options.")
            self.leave_it(node, left)
            return
        home = "snt.function" if self.facts.uses_sonnet else "jax.jit"
        self._mentions[node] = ("tf.function", home)
        self.remark(node, "tf.function", _COMPILED.format(home=home))

    def visit_Call(self, node: cst.Call) -> bool:
        name = self.name_of(node.func)
        if name == "tf.Variable":
            return variables.decide(self, node, self._calls)
        if name and name.startswith("tf."):
            return self._decide_call(node, name)
        if name and (left := advice_on_sonnet(name)):
            self.leave_it(node, left, name)
            self.leave_untouched(node.func)
            return True
        base = base_of_chain(node.func)
        if base is not None and self._stays(base):
            base_name = self.name_of(base.func) or ""
            self.leave_it(node, advice_on(base_name))
            return False
        if self.facts.has_pipelines and methods.is_pipeline_step(node):
            self.leave_it(node, advice_on("tf.data"))
            return False
        if left := methods.left_on(self, node):
            self.leave_it(node, left)
            return True
        emission = methods.decide(self, node)
        if emission is not None:
            self._calls[node] = emission
        return True

    def _stays(self, base: cst.Call) -> bool:
        name = self.name_of(base.func)
        return bool(name and name.startswith("tf.") and find_row(name) is None) and (
            name != "tf.Variable"
        )

    def _decide_call(self, node: cst.Call, name: str) -> bool:
        row = find_row(name)
        if name == "tf.GradientTape":
            self.leave_it(node, self._tapes.get(self.line_of(node), advice_on(name)))
            return False
        if row is None or not row.emit:
            self.leave_it(node, advice_on(name), code_of(node))
            return False
        decision = decide(self, node, row, context_of(node, self.parent, self.name_of))
        if isinstance(decision, Left):
            self.leave_it(node, decision)
            return False
        self._calls[node] = decision
        self.leave_untouched(node.func)
        return True

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        return self._decide_mention(node)

    def visit_Name(self, node: cst.Name) -> bool:
        return self._decide_mention(node)

    def _decide_mention(self, node: cst.Attribute | cst.Name) -> bool:
        if id(node) in self._untouched:
            return False
        name = self.name_of(node)
        if name is None or self._is_a_binding(node):
            return True
        if is_assigned(self, node):
            if self._is_other(node):
                self.leave_it(node, ASSIGNED, name)
            return False
        if name.startswith("snt"):
            if left := advice_on_sonnet(name):
                self.leave_it(node, left, name)
            return False
        row = find_row(name)
        mention = row.mention if row else variables.mention_of(name)
        mention = self.in_quotes(mention)
        if isinstance(mention, str) and "(" in mention and self._is_pattern(node):
            mention = Left("a pattern cannot hold a call", "Write `if` instead of `case`.")
        if isinstance(mention, Left):
            self.leave_it(node, mention, name)
        elif mention:
            self._mentions[node] = (name, mention)
            self.remark(node, name, row.remark if row else "")
        elif isinstance(node, cst.Name) and name == "tf":
            self.leave_it(node, Left("the package itself is passed on"), "tf")
        else:
            left = Left("it is passed on without a call", "Write a lambda.") if row else None
            self.leave_it(node, left or advice_on(name), name)
        return False

    def _is_a_binding(self, node: cst.CSTNode) -> bool:
        parent = self.parent(node)
        return isinstance(parent, cst.Arg) and parent.keyword is node

    def _is_other(self, node: cst.CSTNode) -> bool:
        """Whether code gives a name another meaning; `tf = None` stands for no package."""
        target = self.parent(node)
        statement = self.parent(target) if isinstance(target, cst.AssignTarget) else None
        value = statement.value if isinstance(statement, cst.Assign) else None
        return not (isinstance(value, cst.Name) and value.value == "None")

    def _is_pattern(self, node: cst.CSTNode) -> bool:
        return isinstance(self.parent(node), cst.MatchPattern)

    # Walking up: rewrite

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        made = quoted.in_quotes(self, original_node, updated_node, self._rename_in_quotes)
        if isinstance(made, Left):
            self.leave_it(original_node, made)
            return updated_node
        return made

    def _rename_in_quotes(self, name: str, written: str) -> str | Left | None:
        if name.startswith("snt"):
            return advice_on_sonnet(name)
        if name.partition(".")[0] != "tf":
            return None
        row = find_row(name)
        mention = row.mention if row else variables.mention_of(name)
        if not mention:
            return advice_on(name)
        self.count(name, mention)
        return mention

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        self._classes.pop()
        return updated_node

    def leave_Decorator(
        self, original_node: cst.Decorator, updated_node: cst.Decorator
    ) -> cst.Decorator:
        if original_node not in self._mentions:
            return updated_node
        name, template = self._mentions[original_node]
        self.count(name, template)
        return updated_node.with_changes(decorator=fill(template, {}))

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        if methods.is_rank(original_node) and isinstance(updated_node.value, cst.Attribute):
            self.count(f".shape.{original_node.attr.value}", "")
            return updated_node.with_changes(value=updated_node.value.value, attr=cst.Name("ndim"))
        if self._is_part_of_top_k(original_node):
            number = str(("values", "indices").index(original_node.attr.value))
            return fill(f"{{x}}[{number}]", {"x": updated_node.value})
        return self._mentioned(original_node, updated_node)

    def _is_part_of_top_k(self, node: cst.Attribute) -> bool:
        """Whether code is `tf.math.top_k(x).values`."""
        call = self._calls.get(node.value)
        is_top_k = call is not None and call.name == "tf.math.top_k"
        return is_top_k and node.attr.value in ("values", "indices")

    def leave_BinaryOperation(
        self, original_node: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BaseExpression:
        made = joined_as_tuples(original_node, updated_node)
        if made is not updated_node:
            self.count(".shape + [...]", "")
        return made

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self._mentioned(original_node, updated_node)

    def _mentioned(
        self, original: cst.BaseExpression, updated: cst.BaseExpression
    ) -> cst.BaseExpression:
        if original not in self._mentions:
            return updated
        name, template = self._mentions[original]
        self.count(name, template)
        made = fill(template, {})
        return made.with_changes(lpar=updated.lpar, rpar=updated.rpar)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        emission = self._calls.get(original_node)
        if emission is None:
            return updated_node
        made = finish(emission, updated_node, self.parent(original_node))
        if comments_in(made) != comments_in(updated_node):
            left = Left("a comment inside would be lost", "Move the comment, and port it again.")
            self.leave_it(original_node, left)
            return updated_node
        self.count(emission.name, emission.template)
        self.remark(original_node, emission.name, emission.remark)
        return made


_STAR = Left("which names it imports cannot be seen", "Write `import tensorflow as tf`.")
_COMPILED = (
    "`{home}` does not turn `if` and `while` on arrays into control flow: it raises an error there."
    " It compiles once for each shape, and prints only while it compiles."
)
