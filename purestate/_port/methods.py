"""Methods of TensorFlow's arrays: `x.numpy()`, `x.shape.as_list()`."""

import libcst as cst

from purestate._port.calls import Emission, Resolver
from purestate._port.row import Left
from purestate._port.sizes import is_static_shape

# Method -> the code in JAX. Only calls without arguments, so that methods of others stay.
_METHODS = {
    "numpy": "np.asarray({x})",
    "as_list": "list({x})",
    "get_shape": "{x}.shape",
    "num_elements": "math.prod({x})",
}

_LEFT = {
    "set_shape": Left("shapes are known in JAX", "Drop it."),
    "scatter_nd_update": Left(
        "it changes a variable in place", "Write `v.assign(v.at[i].set(x))`."
    ),
    "experimental_ref": Left("it makes a variable a key", "Use its name, or `id(x)`."),
}

_OF_SHAPES = {
    "as_proto", "assert_has_rank", "assert_is_compatible_with", "assert_is_fully_defined",
    "assert_same_rank", "concatenate", "is_compatible_with", "is_fully_defined", "merge_with",
    "most_specific_compatible_shape", "with_rank", "with_rank_at_least", "with_rank_at_most",
}  # fmt: skip
_SHAPE = Left("a shape is a tuple in JAX", "Write code for tuples, such as `x.shape + (3,)`.")

_PIPELINE_STEPS = {"map", "filter", "flat_map", "interleave", "take_while"}


def decide(resolver: Resolver, node: cst.Call) -> Emission | None:
    """Returns how a call of a method is rewritten, or None if it is not such a method."""
    func = node.func
    if not isinstance(func, cst.Attribute) or node.args:
        return None
    template = _METHODS.get(func.attr.value)
    if template is None or resolver.name_of(func) is not None:
        return None
    return Emission(f".{func.attr.value}()", template, {}, receiver="x")


def left_on(resolver: Resolver, node: cst.Call) -> Left | None:
    """Says why a call of a method is not rewritten, or returns None."""
    func = node.func
    if not isinstance(func, cst.Attribute) or resolver.name_of(func) is not None:
        return None
    if func.attr.value in _OF_SHAPES and is_static_shape(func.value):
        return _SHAPE
    return _LEFT.get(func.attr.value)


def is_pipeline_step(node: cst.Call) -> bool:
    """Whether a call is `dataset.map(lambda x: ...)`, whose function TensorFlow runs."""
    func = node.func
    return (
        isinstance(func, cst.Attribute)
        and func.attr.value in _PIPELINE_STEPS
        and any(isinstance(arg.value, cst.Lambda) for arg in node.args)
        and not (isinstance(func.value, cst.Attribute) and func.value.attr.value == "tree")
    )


class PipelineFinder(cst.CSTVisitor):
    """Finds the functions that are passed to steps of an input pipeline by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_Call(self, node: cst.Call) -> None:
        func = node.func
        if not isinstance(func, cst.Attribute) or func.attr.value not in _PIPELINE_STEPS:
            return
        if isinstance(func.value, cst.Name) and func.value.value in ("hk", "ps", "jax"):
            return
        self.names |= {arg.value.value for arg in node.args if isinstance(arg.value, cst.Name)}


def is_rank(node: cst.Attribute) -> bool:
    """Whether code is `x.shape.rank` or `x.shape.ndims`."""
    return (
        node.attr.value in ("rank", "ndims")
        and isinstance(node.value, cst.Attribute)
        and node.value.attr.value == "shape"
    )
