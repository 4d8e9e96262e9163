"""The function of a model: any function, pair or module class, brought to one form.

apply(params, state, key, call, *args, **kwargs) -> out, params, state
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from purestate._core.collection import Bundle
from purestate._core.module import Module
from purestate._core.pairs import (
    Program,
    PureFunction,
    Transformed,
    TransformedWithState,
    original_function,
)
from purestate._core.transform import transform_with_state
from purestate._state.transform_with_collections import TransformedWithCollections
from purestate._views.calls import Call, call_function, call_module, is_hashable
from purestate._views.errors import ViewTypeError
from purestate._views.modes import mode_argument, with_mode
from purestate._views.parts import Keys
from purestate._views.skeleton import Skeleton, skeleton_of

Applied = tuple[Any, Bundle, Bundle]
"""The result of a function, its params and its state."""

# Of Any: a type checker would make of `isinstance(f, PAIRS)` a pair of unknown arguments.
PAIRS: tuple[type[Any], ...] = (Transformed, TransformedWithState, TransformedWithCollections)


class Look(NamedTuple):
    """What one run of a function without arguments tells about the module that it makes.

    Attributes:
      name: the name of the function, or of the class of the module if it is a lambda.
      module_class: the class of the module.
      skeleton: what can be called in it.
      arrays: the names of plain attributes with arrays.
      unhashable: name and type of plain attributes that cannot be hashed.
    """

    name: str
    module_class: type[Module]
    skeleton: Skeleton
    arrays: list[str]
    unhashable: list[tuple[str, str]]


class BoundFunction:
    """A function in the form that models use.

    There is one for each function, so that `jax.jit` compiles once for all models of a function.

    Attributes:
      source: the function, pair or module class.
      name: what to show it as: the name of the function, or of the class of its module.
      has_collections: whether it is what `transform_with_collections` returned.
      makes_module: whether it is a module class, or a function that makes a module.
      looked: what a run of it told, if there was one.
    """

    def __init__(self, source: Any, makes_module: bool, name: str | None = None):
        self.source = source
        self.name = name or _name_of(original_function(source))
        self.makes_module = makes_module
        self.has_collections = isinstance(source, TransformedWithCollections)
        self.looked: Look | None = None
        if isinstance(source, TransformedWithCollections):
            self.apply = _over_collections(source)
        elif isinstance(source, (Transformed, TransformedWithState)):
            self.apply = _over_pair(source)
        else:
            run = call_module if makes_module else call_function
            self.apply = _over_pair(transform_with_state(run(source)), with_call=True)

    def bundles(self, params: Bundle, state: Bundle) -> list[Bundle]:
        """Returns all bundles of a model, each `{module: {name: value}}`."""
        return [params, *(state.values() if self.has_collections else (state,))]

    def look(self, params: Bundle, state: Bundle, rng: Keys) -> Look | None:
        """Returns what a run of the function tells about its module. It runs once, on shapes."""
        if self.looked is None:
            self.looked, *_ = _look(self.source, params, state, rng)
        return self.looked

    def see(self, module: Module) -> None:
        """Takes note of the module that a run made."""
        if self.looked is None:
            self.looked = _look_at(self.source, module)

    def has_mode(self, params: Bundle, state: Bundle, rng: Keys) -> bool:
        """Whether the function, or a method of its module, has an argument for the mode."""
        looked = self.look(params, state, rng) if self.makes_module else None
        if looked is None:
            return mode_argument(original_function(self.source)) is not None
        cls = looked.module_class
        methods = (getattr(cls, name) for name in dir(cls) if not name.startswith("_"))
        return any(
            mode_argument(method) is not None
            for method in (cls.__call__, *methods)
            if callable(method)
        )

    def __deepcopy__(self, memo: object) -> "BoundFunction":
        return self

    def __reduce__(self) -> Any:
        return _bound_again, (self.source, self.makes_module, self.name)

    def __repr__(self) -> str:
        return self.name


# Models, and JAX's caches for them, keep these alive.
_known: weakref.WeakValueDictionary[Any, BoundFunction] = weakref.WeakValueDictionary()


def bound_function(source: Any, params: Bundle, state: Bundle, rng: Keys) -> BoundFunction:
    """Returns the one `BoundFunction` of a function.

    A function that may be called without arguments is run, unless it is known, on the shapes of
    the variables, to find out whether it makes a module.

    Args:
      source: the function.
      params: the parameters that it is bound to.
      state: the state.
      rng: the key.

    Returns:
      The `BoundFunction`.

    Raises:
      ViewTypeError: a module class needs arguments.
    """
    key = _key_of(source)
    found = _known.get(key) if is_hashable(key) else None
    if found is not None:
        return found
    is_class = isinstance(source, type) and issubclass(source, Module)
    needed = None if isinstance(source, PAIRS) else _needed_arguments(source)
    if is_class and needed:
        raise ViewTypeError(
            f"`ps.bind({source.__name__}, ...)`: {source.__name__} cannot be made without"
            f" {', '.join(map(repr, needed))}. Write `ps.bind(lambda: {source.__name__}(...),"
            " ...)`."
        )
    looked = None
    if is_class or needed == []:
        looked, error, runs = _look(source, params, state, rng)
        # Either the variables do not fit the module, or the function fails whatever it is.
        if error is not None and (is_class or looked or (not runs and not _takes_any(source))):
            raise error
    bound = _bound_again(source, looked is not None, None if looked is None else looked.name)
    bound.looked = looked
    return bound


def _bound_again(source: Any, makes_module: bool, name: str | None) -> BoundFunction:
    key = _key_of(source)
    if not is_hashable(key):
        return BoundFunction(source, makes_module, name)
    found = _known.get(key)
    if found is None:
        found = _known[key] = BoundFunction(source, makes_module, name)
    return found


def _name_of(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _key_of(source: Any) -> Any:
    """Returns a key for a function. Pairs that were made from one function in one way share it."""
    if isinstance(source, PAIRS):
        return type(source), *map(_key_of, source)
    if isinstance(source, PureFunction):
        cls, made_from = source.__reduce__()
        return cls, *map(_key_of, made_from)
    if isinstance(source, Program):
        return Program, source.function, source.rng_mode, source.strict
    return source


# Looking at the module that a function makes


def _look(
    make: Callable[[], Any], params: Bundle, state: Bundle, rng: Keys
) -> tuple[Look | None, Exception | None, bool]:
    """Runs a function on shapes, to find out whether it makes a module.

    Returns what the run told about the module, or None if it makes none; the error that `apply`
    raised with these variables; and whether the function runs at all.
    """
    found: list[Look] = []

    def run() -> None:
        out = make()
        if isinstance(out, Module):
            found.append(_look_at(make, out))

    init, apply = transform_with_state(run)
    failed: Exception | None = None
    try:
        # An empty state is left out, so that only a call warns of state that begins again.
        jax.eval_shape(apply, params, state if any(state.values()) else None, rng)
    except Exception as error:
        failed = error
        try:
            jax.eval_shape(init, jax.random.key(0))
        except Exception:
            return None, failed, False
    return (found[-1] if found else None), failed, True


def _look_at(make: Callable[[], Any], module: Module) -> Look:
    skeleton = skeleton_of(module)
    assert skeleton is not None
    plain = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, Module)
    }
    name = getattr(make, "__name__", "<lambda>")
    return Look(
        type(module).__name__ if name == "<lambda>" else name,
        type(module),
        skeleton,
        [name for name, value in plain.items() if _has_arrays(value)],
        [(name, type(value).__name__) for name, value in plain.items() if not is_hashable(value)],
    )


def _has_arrays(value: object) -> bool:
    return any(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in jax.tree.leaves(value))


# How each kind is applied


def _over_collections(
    pair: "TransformedWithCollections[Any, Any]",
) -> Callable[..., Applied]:
    def apply(
        params: Bundle, state: Bundle, key: Keys, call: Call, *args: Any, **kwargs: Any
    ) -> Applied:
        # All collections that the model has may change. Others would be lost with each call.
        kwargs = with_mode(original_function(pair), call.training, args, kwargs)
        out, new = pair.apply(
            {"params": params, **state}, key, *args, mutable=["params", *state], **kwargs
        )
        return out, new["params"], {name: new[name] for name in state}

    return apply


def _over_pair(
    pair: "Transformed[Any, Any] | TransformedWithState[Any, Any]", with_call: bool = False
) -> Callable[..., Applied]:
    has_state, takes_key = isinstance(pair, TransformedWithState), _takes_key(pair)

    def apply(
        params: Bundle, state: Bundle, key: Keys, call: Call, *args: Any, **kwargs: Any
    ) -> Applied:
        if with_call:
            args = (call, *args)
        else:
            kwargs = with_mode(original_function(pair), call.training, args, kwargs)
        leading = (params, state) if has_state else (params,)
        out = (
            pair.apply(*leading, key, *args, **kwargs)
            if takes_key
            else pair.apply(*leading, *args, **kwargs)
        )
        return (out[0], params, out[1]) if has_state else (out, params, {})

    return apply


def _takes_key(pair: "Transformed[Any, Any] | TransformedWithState[Any, Any]") -> bool:
    """Whether `apply` takes a key; after `without_apply_rng` it does not."""
    if isinstance(pair.apply, PureFunction):
        return "rng" in pair.apply.leading
    if not hasattr(pair.init, "original_function"):
        return True
    given, own = (len(inspect.signature(f).parameters) for f in (pair.apply, pair.init))
    return given - own != (1 if isinstance(pair, TransformedWithState) else 0)


def _takes_any(f: Callable[..., Any]) -> bool:
    """Whether `f` can be called with arguments."""
    try:
        return bool(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        return True


def _needed_arguments(f: Callable[..., Any]) -> list[str] | None:
    """Returns the arguments without which `f` cannot be called; None if Python does not know."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
