"""One pass over a program for Sonnet and TensorFlow."""

from collections import Counter
from collections.abc import Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper

from purestate._port.findings import Finding
from purestate._port.imports import (
    STATEMENTS,
    DropImports,
    SonnetImports,
    add_imports,
    bindings,
    missing_imports,
    unused_imports,
)
from purestate._port.methods import PipelineFinder
from purestate._port.resolve import short
from purestate._port.rewriter import TensorFlowRewriter

_SAME = {"jnp": ("jax.numpy",), "np": ("numpy", "jax.numpy"), "snt": ("snt",)}


def port_sonnet_once(text: str) -> tuple[str, Sequence[Finding], Counter[str]]:
    """Rewrites what can be rewritten in one pass; returns the text, the findings and the counts."""
    module = cst.parse_module(text)
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    rewriter = TensorFlowRewriter(*_facts_of(module, text))
    module = wrapper.visit(rewriter)
    imports = SonnetImports()
    module = MetadataWrapper(module, unsafe_skip_copy=False).visit(imports)
    findings = [*rewriter.findings, *imports.findings]
    wrapper = MetadataWrapper(module)
    if taken := _taken(wrapper, rewriter.roots):
        return text, [taken], Counter()
    unused = unused_imports(wrapper, ("tensorflow",))
    missing = missing_imports(wrapper, rewriter.roots)
    module = wrapper.module.visit(DropImports(unused))
    module = add_imports(module, missing)
    return module.code, findings, rewriter.rewritten + Counter(imports.rewritten)


def _facts_of(module: cst.Module, text: str) -> tuple[set[str], set[str]]:
    """Returns the functions that run in input pipelines, and the classes of modules."""
    pipelines = PipelineFinder()
    if ".data." in text:
        module.visit(pipelines)
    return pipelines.names, set()


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
