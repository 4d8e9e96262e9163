"""Specs: the facts about variables that need no computation, in trees like the bundles."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, overload

import jax
import jax.numpy as jnp

from purestate._core.abstract import eval_shape_of, uncompiled
from purestate._core.creation import lift_prefix
from purestate._core.errors import ArgumentError, VariableError, kind_of
from purestate._core.frame import Frame
from purestate._core.observer import Observer, observe
from purestate._core.pairs import Transformed, TransformedWithState, original_function
from purestate._core.path import variable_path
from purestate._core.transform import transform_with_state
from purestate._state.transform_with_collections import TransformedWithCollections


@dataclasses.dataclass(frozen=True)
class Spec:
    """The facts about a variable that need no computation.

    Attributes:
      shape: its shape.
      dtype: its dtype.
      collection: its collection.
      trainable: whether it is trained: True for a parameter that is not frozen.
      axes: the names of its axes, or None.
      initializer: the initializer of its initial value; None for state that is only set.
      module: the class of the module that made it; None outside any module.
      path: its full name, such as "mlp/~/linear_0/w".
    """

    shape: tuple[int, ...]
    dtype: Any
    collection: str = "params"
    trainable: bool = True
    axes: tuple[str | None, ...] | None = None
    initializer: Any = None
    module: type | None = None
    path: str = ""

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


class Recorder(Observer):
    """Notes down what a run asks of its variables."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.frozen: set[tuple[str, str]] = set()

    def began(self, frame: Frame) -> None:
        """Observes every frame."""
        frame.observers = (*frame.observers, self)

    def read(
        self,
        frame: Frame,
        collection: str,
        path: str,
        name: str,
        value: Any,
        **known: Any,
    ) -> Any:
        """Notes a variable that is read; raises if an earlier read contradicts this one."""
        init, axes = known.get("init"), known.get("axes")
        trainable: bool | None = known.get("trainable", True)
        path = (lift_prefix() or "") + path
        module = type(frame.scope.module) if frame.scope.module is not None else None
        axes = None if axes is None else tuple(axes)
        if axes is not None and len(axes) != len(jnp.shape(value)):
            raise VariableError(
                f"{variable_path(path, name)!r} has shape {jnp.shape(value)}, but its axes are"
                f" named {axes}: name each of them, or pass None for `axes`."
            )
        before = self.noted.get((collection, path, name))
        if before is not None and init is not None and before["initializer"] is None:
            before["initializer"] = init
        if before is None:
            self.noted[collection, path, name] = {
                "collection": collection,
                "trainable": trainable,
                "axes": axes,
                "initializer": init,
                "module": module,
            }
            return value
        if before["trainable"] is None:
            before["trainable"] = trainable
        elif collection == "params" and trainable not in (None, before["trainable"]):
            raise VariableError(
                f"Parameter {variable_path(path, name)!r} is requested with"
                f" trainable={before['trainable']} and with trainable={trainable} in one run. Use"
                " the same value in both places."
            )
        if axes is not None and before["axes"] not in (None, axes):
            raise VariableError(
                f"{variable_path(path, name)!r} is given the axes {before['axes']} and {axes} in"
                " one run."
            )
        before["axes"] = before["axes"] or axes
        return value

    def wrote(self, frame: Frame, collection: str, path: str, name: str, value: Any) -> None:
        """Notes a variable that is set."""
        self.read(frame, collection, path, name, value)

    def froze(self, path: str, name: str) -> None:
        """Notes a parameter that gets no gradient."""
        self.frozen.add((path, name))


Specs = dict[str, dict[str, Spec]]
"""`{module: {name: spec}}`. A variable that is a pytree has a tree of specs."""


# Shapes may stand for arrays, so the arguments are not those of `init`.
@overload
def specs(f: "Transformed[Any, Any]") -> "Callable[..., Specs]": ...
@overload
def specs(f: "TransformedWithCollections[Any, Any]") -> "Callable[..., dict[str, Specs]]": ...
@overload
def specs(
    f: "TransformedWithState[Any, Any] | Callable[..., Any]",
) -> "Callable[..., tuple[Specs, Specs]]": ...
def specs(f: Any) -> Callable[..., Any]:
    """Returns a function that tells what `init` would make, without computing anything.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(3)(x))
    >>> found = ps.specs(f)(jax.random.key(0), jax.ShapeDtypeStruct([2, 5], jnp.float32))
    >>> w = found["linear"]["w"]
    >>> w.shape, w.dtype, w.trainable, w.module
    ((5, 3), dtype('float32'), True, <class 'purestate._layers.linear.Linear'>)

    Args:
      f: what one of the transforms returned; or a function, which is taken as one for
        `transform_with_state`.

    Returns:
      A function of what `init` takes, `(rng, *args, **kwargs)`; arrays may be
      `jax.ShapeDtypeStruct`s. It returns trees shaped like what `init` returns, with a `Spec` for
      each array.

    Raises:
      ArgumentError: `f` is neither.
      VariableError: from the function, if two calls ask for one parameter in ways that contradict
        each other.
    """
    if isinstance(f, (Transformed, TransformedWithState, TransformedWithCollections)):
        init: Any = uncompiled(f.init)
    elif callable(f):
        init = transform_with_state(original_function(f)).init
    else:
        raise ArgumentError(
            f"`ps.specs` takes a function, or what a transform returned, but got {kind_of(f)}."
        )

    def run(rng: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = Recorder()
        with observe(recorder):
            shapes = eval_shape_of(init, (rng, *args), kwargs)
        if isinstance(f, TransformedWithCollections):
            return {name: _with_specs(bundle, recorder, name) for name, bundle in shapes.items()}
        if isinstance(f, Transformed):
            return _with_specs(shapes, recorder, "params")
        params, state = shapes
        return _with_specs(params, recorder, "params"), _with_specs(state, recorder, None)

    return run


def _with_specs(
    bundle: Mapping[str, Any], recorder: Recorder, collection: str | None
) -> dict[str, Any]:
    """Puts a spec in the place of each shape. `collection` None is any but "params"."""
    known = {
        (path, name): noted
        for (where, path, name), noted in recorder.noted.items()
        if (where == collection if collection else where != "params")
    }

    def spec(path: str, name: str, leaf: Any) -> Spec:
        noted = dict(known.get((path, name), {"collection": collection or "state"}))
        noted["trainable"] = (
            noted["collection"] == "params"
            and noted.get("trainable") is not False
            and (path, name) not in recorder.frozen
        )
        axes = noted.get("axes")
        if axes is not None:  # layers that were stacked have more axes, in front
            noted["axes"] = (None,) * (len(leaf.shape) - len(axes)) + axes
        return Spec(leaf.shape, leaf.dtype, path=variable_path(path, name), **noted)

    return {
        path: {
            name: jax.tree.map(lambda leaf, path=path, name=name: spec(path, name, leaf), value)
            for name, value in values.items()
        }
        for path, values in bundle.items()
    }
