"""Remarks on code that dm-haiku let through, and purestate refuses or runs otherwise."""

from collections.abc import Callable

import libcst as cst
import libcst.matchers as m
from libcst.metadata import PositionProvider, QualifiedNameProvider

from purestate._port.findings import Finding
from purestate._port.resolve import imported_name, line_of

_PLAIN = {
    "jax.lax.scan": "scan",
    "jax.lax.map": "map",
    "jax.lax.cond": "cond",
    "jax.lax.switch": "switch",
    "jax.lax.while_loop": "while_loop",
    "jax.lax.fori_loop": "fori_loop",
    "jax.vmap": "vmap",
    "jax.grad": "grad",
    "jax.value_and_grad": "value_and_grad",
    "jax.checkpoint": "remat",
    "jax.remat": "remat",
    "jax.jit": "jit",
}
_COUNTS_ANEW = ("haiku.vmap", "haiku.grad", "haiku.value_and_grad", "haiku.cond", "haiku.switch")


def _plain_transform(ours: str) -> str:
    return (
        "In a plain JAX transform, dm-haiku leaks tracers of new state and parameters, and gives"
        f" each step the same key. purestate raises an error there. Write `hk.{ours}` if the"
        " function makes variables or draws keys."
    )


_NAMES = (
    "In dm-haiku, layers that are made in two such calls share one name, and so their weights. In"
    " purestate each has its own. To share weights, make the layer before."
)
_EMPTY_STATE = (
    "With an empty state, dm-haiku re-initializes the state without telling. purestate warns."
)
_NEGATIVE_AXIS = (
    "dm-haiku normalizes over other axes than given if one is negative. purestate raises an error."
)
_TIED = (
    "An initializer that returns a parameter makes only the initial values equal. To tie weights,"
    " write `w_init=ps.share(...)`."
)
_ONE_SHARD = (
    "On several devices, dm-haiku keeps the running statistics of the first one. purestate raises"
    " an error in `jax.shard_map`. Give `cross_replica_axis`."
)
_OTHER_THREADS = (
    "dm-haiku applies a policy only in the thread that set it. purestate applies it in all threads."
)


class HaikuRemarks(cst.CSTVisitor):
    """Finds what dm-haiku was silently wrong about.

    Attributes:
      findings: a remark for each place.
    """

    METADATA_DEPENDENCIES = (QualifiedNameProvider, PositionProvider)

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self._classes: list[bool] = []
        self._has_shards = False
        self._has_threads = False

    def visit_Module(self, node: cst.Module) -> None:
        code = node.code
        self._has_shards = "pmap(" in code or "shard_map(" in code
        self._has_threads = "import threading" in code or "ThreadPool" in code

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        names = [imported_name(self, base.value) or "" for base in node.bases]
        self._classes.append(any(name.startswith("haiku.") for name in names))

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._classes.pop()

    def visit_Call(self, node: cst.Call) -> None:
        name = imported_name(self, node.func) or ""
        if name in _PLAIN and any(self._classes):
            self._remark(node, name, _plain_transform(_PLAIN[name]))
        elif name in _COUNTS_ANEW and _makes_modules(self, node):
            self._remark(node, name, _NAMES)
        elif name == "haiku.GroupNorm" and _has(node, "axis", _is_negative):
            self._remark(node, name, _NEGATIVE_AXIS)
        elif (
            name == "haiku.BatchNorm" and self._has_shards and not _has(node, "cross_replica_axis")
        ):
            self._remark(node, name, _ONE_SHARD)
        elif name.startswith("haiku.mixed_precision.set_policy") and self._has_threads:
            self._remark(node, name, _OTHER_THREADS)
        elif name.startswith("haiku.") and _has(node, "w_init", _returns_a_parameter):
            self._remark(node, name, _TIED)
        elif _is_apply_with_empty_state(node):
            self._remark(node, ".apply", _EMPTY_STATE)

    def _remark(self, node: cst.CSTNode, name: str, text: str) -> None:
        line = line_of(self, node)
        shown = name.replace("haiku.", "hk.", 1) if name.startswith("haiku.") else name
        self.findings.append(Finding(line, shown, text, kind="remark"))


def _has(
    node: cst.Call, keyword: str, test: Callable[[cst.BaseExpression], bool] = lambda value: True
) -> bool:
    return any(
        arg.keyword and arg.keyword.value == keyword and test(arg.value) for arg in node.args
    )


def _is_negative(value: cst.BaseExpression) -> bool:
    return bool(m.findall(value, m.UnaryOperation(operator=m.Minus())))


def _returns_a_parameter(value: cst.BaseExpression) -> bool:
    """Whether an initializer is `lambda shape, dtype: embed.embeddings.T`."""
    if not isinstance(value, cst.Lambda):
        return False
    pattern = m.Attribute(attr=m.Name("embeddings") | m.Name("w"))
    return bool(m.findall(value.body, pattern))


def _makes_modules(visitor: cst.CSTVisitor, node: cst.Call) -> bool:
    """Whether a function in the call makes a layer of Haiku; a named function may."""
    for arg in node.args:
        if isinstance(arg.value, cst.Lambda):
            calls = m.findall(arg.value, m.Call())
            names = [imported_name(visitor, c.func) or "" for c in calls if isinstance(c, cst.Call)]
            if any(name.startswith("haiku.") for name in names):
                return True
    return bool(node.args) and isinstance(node.args[0].value, cst.Name)


def _is_apply_with_empty_state(node: cst.Call) -> bool:
    return m.matches(
        node,
        m.Call(
            func=m.Attribute(attr=m.Name("apply")),
            args=[m.Arg(), m.Arg(m.Dict(elements=[])), m.AtLeastN(n=1)],
        ),
    )
