"""One pass over a program for Haiku: its imports, private and moved names, and names JAX lost."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import libcst as cst
from libcst.metadata import (
    ExpressionContextProvider,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    ScopeProvider,
)

from purestate._port import quoted
from purestate._port.calls import Emission, Facts, decide, finish
from purestate._port.findings import Finding
from purestate._port.fstrings import FStrings
from purestate._port.haiku_imports import HaikuImports
from purestate._port.haiku_names import MOVED, PUBLIC_BY_PRIVATE
from purestate._port.haiku_remarks import HaikuRemarks
from purestate._port.imports import dotted, is_rebound, with_imports
from purestate._port.jax_names import GONE, HAIKU_GONE, ROWS_BY_NAME
from purestate._port.resolve import ASSIGNED, code_of, imported_name, is_assigned, line_of
from purestate._port.row import Left
from purestate._port.templates import comments_in, fill, roots_in


def port_haiku_once(text: str) -> tuple[str, Sequence[Finding], Counter[str]]:
    """Rewrites what can be rewritten in one pass; returns the text, the findings and the counts."""
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    remarks = HaikuRemarks()
    wrapper.visit(remarks)
    rewriter = HaikuRewriter()
    module = wrapper.visit(rewriter)
    # Names first, so that an import of a name that is gone goes with its last use.
    module = with_imports(module, rewriter.roots, _is_dead)
    wrapper = MetadataWrapper(module)
    imports = HaikuImports(keeps_name=is_rebound(wrapper, "haiku"))
    module = wrapper.visit(imports)
    findings = [*remarks.findings, *rewriter.findings, *imports.findings]
    return module.code, findings, rewriter.rewritten + imports.rewritten


def _is_dead(name: str) -> bool:
    """Whether an import goes once nothing uses it: of names that JAX lost, and of private files."""
    is_private = name.startswith("haiku._src") and name not in PUBLIC_BY_PRIVATE
    return name in ROWS_BY_NAME or is_private


class HaikuRewriter(FStrings):
    """Rewrites names; imports come later.

    Attributes:
      findings: the rest, which stays.
      roots: the names that new code begins with.
      rewritten: how often each name was rewritten.
    """

    METADATA_DEPENDENCIES = (
        QualifiedNameProvider,
        PositionProvider,
        ExpressionContextProvider,
        ParentNodeProvider,
        ScopeProvider,
    )

    in_module = False
    facts = Facts()

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self.roots: set[str] = set()
        self.rewritten: Counter[str] = Counter()
        self._calls: dict[cst.CSTNode, Emission] = {}
        self._mentions: dict[cst.CSTNode, tuple[str, str]] = {}
        self._kept: set[int] = set()
        self._aliases: dict[str, str] = {}

    def name_of(self, node: cst.CSTNode) -> str | None:
        """Returns "haiku.Linear" or "jax.tree_map" for a name of these packages, else None."""
        name = imported_name(self, node) or ""
        if name.startswith("purestate._src"):  # once the import is rewritten
            name = name.replace("purestate", "haiku", 1)
        return name if name.partition(".")[0] in ("haiku", "jax") else None

    def kind_of(self, node: cst.BaseExpression) -> str:
        """Returns "": Haiku's programs need no such knowledge."""
        return ""

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            name = dotted(alias.name)
            asname = alias.asname.name if alias.asname else None
            if name in ("haiku", "jax.numpy") and isinstance(asname, cst.Name):
                self._aliases[name] = asname.value
            elif name == "haiku":
                self._aliases[name] = name
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def visit_Call(self, node: cst.Call) -> None:
        name = self.name_of(node.func) or ""
        row = ROWS_BY_NAME.get(name)
        if row is None or not row.emit:
            if name in ("haiku.transform", "haiku.transform_with_state"):
                self._check_transform(node, name)
            return
        decision = decide(self, node, row)
        if isinstance(decision, Left):
            self._leave(node, decision)
        else:
            template = self._with_aliases(decision.template)
            self._calls[node] = replace(decision, template=template)
        self._kept.add(id(node.func))

    def _check_transform(self, node: cst.Call, name: str) -> None:
        for arg in node.args:
            if arg.keyword and arg.keyword.value == "apply_rng" and code_of(arg.value) != "True":
                left = Left(
                    "the option `apply_rng` does not exist any more",
                    "Write `hk.without_apply_rng(hk.transform(f))`.",
                )
                self._leave(node, left)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        return self._decide(node)

    def visit_Name(self, node: cst.Name) -> bool:
        return self._decide(node)

    def _decide(self, node: cst.Attribute | cst.Name) -> bool:
        if id(node) in self._kept:
            return False
        name = self.name_of(node)
        parent = self.get_metadata(ParentNodeProvider, node, None)
        if name is None or (isinstance(parent, cst.Arg) and parent.keyword is node):
            return True
        if is_assigned(self, node) and (name in ROWS_BY_NAME or name in MOVED):
            self._leave(node, ASSIGNED)
            return False
        if (public := PUBLIC_BY_PRIVATE.get(name) or MOVED.get(name)) is not None:
            if isinstance(node, cst.Name):  # its import is rewritten
                return False
            self._mentions[node] = (name, self._written(public))
        elif (row := ROWS_BY_NAME.get(name)) is not None and row.mention:
            self._mentions[node] = (name, self._with_aliases(row.mention))
        elif left := GONE.get(name) or HAIKU_GONE.get(name):
            self._leave(node, left)
        elif name.startswith("haiku._src"):
            if "." not in name.removeprefix("haiku._src").lstrip("."):
                return True
            self._leave(node, PRIVATE)
        else:
            return True
        return False

    def _written(self, name: str) -> str:
        """Returns a name of Haiku as this program begins it: `hk.LSTM`."""
        if not name.startswith("haiku."):
            return name
        alias = self._aliases.get("haiku")
        if alias is None:
            self.roots.add("hk")
        return f"{alias or 'hk'}.{name.removeprefix('haiku.')}"

    def _with_aliases(self, template: str) -> str:
        """Returns code that calls jax.numpy what this program does."""
        alias = self._aliases.get("jax.numpy", "jnp")
        return re.sub(r"\bjnp\.", f"{alias}.", template)

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        made = quoted.in_quotes(self, original_node, updated_node, self._rename_in_quotes)
        if isinstance(made, Left):
            self._leave(original_node, made)
            return updated_node
        return made

    def _rename_in_quotes(self, name: str, written: str) -> str | Left | None:
        if (public := PUBLIC_BY_PRIVATE.get(name) or MOVED.get(name)) is not None:
            # The import of a bare name is rewritten.
            new = self._written(public) if "." in written else written
        elif (row := ROWS_BY_NAME.get(name)) is not None and row.mention:
            new = self._with_aliases(row.mention)
        else:
            is_private = name.startswith("haiku._src.")
            return GONE.get(name) or HAIKU_GONE.get(name) or (PRIVATE if is_private else None)
        if new != written:
            self.rewritten[name] += 1
            self.roots |= roots_in(new)
        return new

    def _leave(self, node: cst.CSTNode, left: Left) -> None:
        line = line_of(self, node)
        self.findings.append(Finding(line, code_of(node), left.reason, left.instead))

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return self._mentioned(original_node, updated_node)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self._mentioned(original_node, updated_node)

    def _mentioned(
        self, original: cst.BaseExpression, updated: cst.BaseExpression
    ) -> cst.BaseExpression:
        if original not in self._mentions:
            return updated
        name, template = self._mentions[original]
        self.rewritten[name] += 1
        self.roots |= roots_in(template)
        return fill(template, {}).with_changes(lpar=updated.lpar, rpar=updated.rpar)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        emission = self._calls.get(original_node)
        if emission is None:
            return updated_node
        parent = self.get_metadata(ParentNodeProvider, original_node, None)
        made = finish(emission, updated_node, parent if isinstance(parent, cst.CSTNode) else None)
        if comments_in(made) != comments_in(updated_node):
            self._leave(original_node, Left("a comment inside would be lost", "Move the comment."))
            return updated_node
        self.rewritten[emission.name.removeprefix("tf.")] += 1
        self.roots |= roots_in(emission.template)
        return made


PRIVATE = Left(
    "it is private in dm-haiku, and purestate has no such file",
    "Write a public name of `purestate`, or keep a copy of the code.",
)
