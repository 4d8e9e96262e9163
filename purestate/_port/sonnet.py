"""One pass over a program for Sonnet and TensorFlow."""

import re
from collections import Counter
from collections.abc import Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper

from purestate._port.calls import Facts
from purestate._port.findings import Finding
from purestate._port.imports import (
    STATEMENTS,
    SonnetImports,
    bindings,
    captured,
    rebound,
    with_imports,
)
from purestate._port.methods import PipelineFinder
from purestate._port.resolve import short
from purestate._port.rewriter import TensorFlowRewriter
from purestate._port.sonnet_names import ModuleClasses
from purestate._port.tape import UNCONNECTED, TapeRewriter

_SAME = {"jnp": ("jax.numpy",), "np": ("numpy", "jax.numpy"), "snt": ("snt",)}


def port_sonnet_once(text: str) -> tuple[str, Sequence[Finding], Counter[str]]:
    """Rewrites what can be rewritten in one pass; returns the text, the findings and the counts."""
    tapes = TapeRewriter()
    if "GradientTape" in text:
        module = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True).visit(tapes)
        if tapes.lines:
            remarks = [
                Finding(line, "tf.GradientTape", UNCONNECTED, kind="remark") for line in tapes.lines
            ]
            return with_imports(module, tapes.roots).code, remarks, tapes.rewritten
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    if hidden := _hidden(wrapper):
        return text, [hidden], Counter()
    others = rebound(wrapper, "tf")
    rewriter = TensorFlowRewriter(_facts_of(wrapper, text), tapes.reasons)
    module = wrapper.visit(rewriter)
    imports = SonnetImports()
    module = MetadataWrapper(module, unsafe_skip_copy=False).visit(imports)
    findings = [*rewriter.findings, *imports.findings, *others]
    wrapper = MetadataWrapper(module)
    if taken := _taken(wrapper, rewriter.roots):
        return text, [taken], Counter()
    module = with_imports(module, rewriter.roots)
    return module.code, findings, rewriter.rewritten + Counter(imports.rewritten)


def _facts_of(wrapper: MetadataWrapper, text: str) -> Facts:
    """Returns the facts about a program before it is rewritten."""
    pipelines, classes = PipelineFinder(), ModuleClasses()
    if has_pipelines := ".data." in text:
        wrapper.module.visit(pipelines)
    wrapper.visit(classes)
    uses_sonnet = re.search(r"^\s*(import|from)\s+(purestate\.)?sonnet\b", text, re.MULTILINE)
    return Facts(
        has_pipelines, frozenset(pipelines.names), frozenset(classes.names), uses_sonnet is not None
    )


def _hidden(wrapper: MetadataWrapper) -> Finding | None:
    """Says which name of an import a pattern of `match` binds too, if any."""
    for name in sorted(captured(wrapper.module)):
        imports = [short(found).partition(".")[0] for found in bindings(wrapper, name)]
        if "tf" in imports or "snt" in imports:
            return Finding(1, name, "a `case` binds this name of an import too", "Rename one.")
    return None


def _taken(wrapper: MetadataWrapper, roots: set[str]) -> Finding | None:
    """Says which name of the new code the program uses for something else, if any."""
    for root in sorted(roots):
        module = STATEMENTS[root][1]
        fine = _SAME.get(root, (module,))
        others = [name for name in bindings(wrapper, root) if short(name) not in (*fine, module)]
        if others:
            return Finding(
                1,
                root,
                f"the program uses this name for something else, and the new code needs it for"
                f" {module}",
                "Rename it, and port the program again.",
            )
    return None
