"""The layers of a purestate model, in the order in which they run, from an abstract `init`."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from purestate._convert.errors import ConversionError
from purestate._core.creation import lift_prefix
from purestate._core.errors import kind_of
from purestate._core.frame import Frame
from purestate._core.observer import Observer, observe
from purestate._core.pairs import Transformed, TransformedWithState
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import ConvND
from purestate._layers.conv_transpose import ConvNDTranspose
from purestate._layers.dense_general import DenseGeneral
from purestate._layers.depthwise_conv import DepthwiseConvND
from purestate._layers.embed import Embed
from purestate._layers.group_norm import GroupNorm
from purestate._layers.layer_norm import LayerNorm
from purestate._layers.linear import Linear
from purestate._layers.moving_averages import ExponentialMovingAverage
from purestate._layers.recurrent.gru import GRU
from purestate._layers.recurrent.lstm import LSTM
from purestate._layers.rms_norm import RMSNorm
from purestate._state.specs import Spec, specs
from purestate._state.transform_with_collections import TransformedWithCollections

# The kind of a layer, and its variables. A variable that is not listed is one of its own, `RAW`.
_KINDS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (Linear, "linear", ("w", "b")),
    (DenseGeneral, "dense_general", ("w", "b")),
    (DepthwiseConvND, "depthwise", ("w", "b")),
    (ConvND, "conv", ("w", "b")),
    (ConvNDTranspose, "conv_transpose", ("w", "b")),
    (Embed, "embed", ("embeddings",)),
    ((LayerNorm, GroupNorm, RMSNorm), "norm", ("scale", "offset")),
    (BatchNorm, "batch_norm", ("scale", "offset")),
    (GRU, "gru", ("w_i", "w_h", "b", "b_h")),
)
# Layers inside others, that belong to these.
_INNER: tuple[tuple[type, type, str], ...] = (
    (ExponentialMovingAverage, BatchNorm, "batch_norm"),
    (Linear, LSTM, "lstm"),
)
RAW = "variable"


class Place(NamedTuple):
    """A variable: its place in what `init` returns, and its spec."""

    part: str  # "params", "state", or a collection
    module: str
    name: str
    spec: Spec


class Target(NamedTuple):
    """A layer of the model; a variable outside any known layer is a target by itself.

    Attributes:
      path: its path; of a variable its full name.
      kind: what it is.
      variables: its variables, by their names in it, such as "w" or "linear/w" for an LSTM.
      module: the module.
    """

    path: str
    kind: str
    variables: dict[str, Place]
    module: Any


class Model(NamedTuple):
    """The specs of each part of what `init` returns, and the layers."""

    parts: dict[str, Any]
    targets: list[Target]


class _Order(Observer):
    """Notes which module reads each variable, in the order of the first reads."""

    def __init__(self) -> None:
        self.noted: dict[tuple[bool, str, str], tuple[Any, Any, int]] = {}

    def began(self, frame: Frame) -> None:
        frame.observers = (*frame.observers, self)

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        key = collection == "params", (lift_prefix() or "") + path, name
        if key not in self.noted:
            module, scope = frame.scope.module, frame.scope
            while scope is not None and scope.module is module:
                scope = scope.outer
            outer = None if scope is None else scope.module
            self.noted[key] = module, outer, len(jnp.shape(value))
        return value

    def wrote(self, frame: Frame, collection: str, path: str, name: str, value: Any) -> None:
        self.read(frame, collection, path, name, value)


def model_of(call: str, f: Any, rng: Any, example: tuple[Any, ...]) -> Model:
    """Returns the layers of a function, without any computation."""
    if not isinstance(f, (Transformed, TransformedWithState, TransformedWithCollections)):
        raise ConversionError(
            f"{call} needs the model: what ps.transform, ps.transform_with_state or"
            f" ps.transform_with_collections returned. It got {kind_of(f)}."
        )
    order = _Order()
    with observe(order):
        found: Any = specs(f)(rng, *example)
    if isinstance(f, Transformed):
        parts = {"params": found}
    elif isinstance(f, TransformedWithState):
        parts = {"params": found[0], "state": found[1]}
    else:
        parts = dict(found)
    places = [
        Place(part, module, name, spec)
        for part, bundle in parts.items()
        for module, values in bundle.items()
        for name, spec in values.items()
    ]
    found_at = {(place.part == "params", place.module, place.name): place for place in places}
    targets: dict[str, Target] = {}
    for key, (module, outer, ndim) in order.noted.items():
        _add(targets, found_at[key], module, outer, ndim)
    return Model(parts, list(targets.values()))


def _add(targets: dict[str, Target], place: Place, module: Any, outer: Any, ndim: int) -> None:
    """Puts a variable into the layer that it belongs to."""
    if not isinstance(place.spec, Spec):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConversionError(
            f"The variable {place.module}/{place.name} is a tree of several arrays. Converters know"
            " variables that are one array. Convert a model without it, and put it in with"
            " ps.surgery.transplant."
        )
    if len(place.spec.shape) != ndim:
        raise ConversionError(
            f"The weights of {place.module!r} are stacked, as those of ps.layer_stack are."
            " Converters need one module for each layer. Convert the same model with a Python loop"
            " in place of the layer_stack, and then stack its layers with ps.stack_layers."
        )
    for cls, outer_cls, kind in _INNER:
        if isinstance(module, cls) and isinstance(outer, outer_cls):
            above, _, local = place.module.rpartition("/")
            path = above.removesuffix("/~")
            target = targets.setdefault(path, Target(path, kind, {}, outer))
            target.variables[f"{local}/{place.name}"] = place
            return
    for cls, kind, names in _KINDS:
        if isinstance(module, cls) and place.name in names:
            if isinstance(module, GRU) and module.reset_after:
                kind = "gru_reset_after"
            target = targets.setdefault(place.module, Target(place.module, kind, {}, module))
            target.variables[place.name] = place
            return
    path = place.spec.path
    targets[path] = Target(path, RAW, {place.name: place}, module)
