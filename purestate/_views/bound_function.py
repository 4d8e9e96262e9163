"""What a model runs: any function, pair or module class, brought to one form.

apply(params, state, key, call, *args, **kwargs) -> out, params, state
"""

import inspect
import math
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import jax

from purestate._core.module import Module
from purestate._core.pairs import Transformed, TransformedWithState, original_function
from purestate._core.transform import transform_with_state
from purestate._state.set_up_module import SetUpModule
from purestate._state.transform_with_collections import TransformedWithCollections
from purestate._views.errors import ViewTypeError

MODE_ARGUMENTS = {
    "is_training": True,
    "training": True,
    "train": True,
    "inference_mode": False,
    "inference": False,
}
"""Arguments that say whether a call trains, and whether True means that it does."""

Step = str | tuple[Any]
"""One step into a module: the name of an attribute, or `(key,)` for an item of a list or dict."""


class Call:
    """What is asked of a model: to call it or a part of it, or to return that part.

    `attributes` are plain attributes that earlier calls changed, by their paths; `changed` are
    those that this one does.
    """

    __slots__ = ("attributes", "changed", "is_call", "path", "training")

    def __init__(self, path: tuple[Step, ...], is_call: bool, static: Any):
        self.path = path
        self.is_call = is_call
        self.training: bool | None = static.training
        self.attributes: Mapping[tuple[Step, ...], Any] = dict(static.attributes)
        self.changed: dict[tuple[Step, ...], Any] = {}


class BoundFunction:
    """A function as models use it. There is one for each function, so that `jax.jit` knows all models of it as one kind."""

    def __init__(self, source: Any):
        self.source = source
        self.module_class: type[Module] | None = None
        self.has_collections = isinstance(source, TransformedWithCollections)
        if isinstance(source, TransformedWithCollections):
            self.apply = _over_collections(source)
        elif isinstance(source, (Transformed, TransformedWithState)):
            self.apply = _over_pair(source)
        else:
            self.module_class = _class_that_is_made(source)
            run = _call_function if self.module_class is None else _call_module
            self.apply = _over_pair(transform_with_state(run(source)), with_call=True)

    def bundles(self, params: Any, state: Any) -> list[Any]:
        """Returns all bundles of a model, `{module: {name: value}}` each."""
        return [params, *(state.values() if self.has_collections else (state,))]

    def has_mode(self) -> bool:
        """Whether it, or a method of its module, has an argument that says whether a call trains."""
        if self.module_class is None:
            return _mode_argument(original(self.source)) is not None
        methods = (
            getattr(self.module_class, name)
            for name in dir(self.module_class)
            if not name.startswith("_")
        )
        return any(
            _mode_argument(method) is not None
            for method in (self.module_class.__call__, *methods)
            if callable(method)
        )

    def __reduce__(self) -> Any:
        return bound_function, (self.source,)


# As long as a model, or JAX on behalf of one, has use for it, and no longer.
_known: weakref.WeakValueDictionary[Any, BoundFunction] = weakref.WeakValueDictionary()


def bound_function(source: Any) -> BoundFunction:
    """Returns the one `BoundFunction` of a function."""
    if not isinstance(source, Hashable):
        return BoundFunction(source)
    found = _known.get(source)
    if found is None:
        found = _known[source] = BoundFunction(source)
    return found


def original(source: Any) -> Any:
    """The function that a transformed pair was made from, or the function itself."""
    return original_function(
        source.init if isinstance(source, TransformedWithCollections) else source
    )


# How each kind is applied


def _over_collections(pair: TransformedWithCollections) -> Callable[..., Any]:
    def apply(params: Any, state: Any, key: Any, call: Call, *args: Any, **kwargs: Any) -> Any:
        # Of the collections that there are, all may change. Another would be lost, or grow, with
        # each call.
        kwargs = _with_mode(original(pair), call.training, args, kwargs)
        out, new = pair.apply(
            {"params": params, **state}, key, *args, mutable=["params", *state], **kwargs
        )
        return out, new["params"], {name: new[name] for name in state}

    return apply


def _over_pair(
    pair: Transformed[..., Any] | TransformedWithState[..., Any], with_call: bool = False
) -> Any:
    has_state, takes_key = isinstance(pair, TransformedWithState), _takes_key(pair)

    def apply(params: Any, state: Any, key: Any, call: Call, *args: Any, **kwargs: Any) -> Any:
        if with_call:
            args = (call, *args)
        else:
            kwargs = _with_mode(original(pair), call.training, args, kwargs)
        leading = (params, state) if has_state else (params,)
        out = (
            pair.apply(*leading, key, *args, **kwargs)
            if takes_key
            else pair.apply(*leading, *args, **kwargs)
        )  # pyright: ignore
        return (out[0], params, out[1]) if has_state else (out, params, {})

    return apply


def _takes_key(pair: Any) -> bool:
    """Whether `apply` takes a key; after `without_apply_rng` it does not."""
    if not hasattr(pair.init, "original_function"):
        return True
    given, own = (len(inspect.signature(f).parameters) for f in (pair.apply, pair.init))
    return given - own != (1 if isinstance(pair, TransformedWithState) else 0)


def _call_function(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda call, *args, **kwargs: f(*args, **_with_mode(f, call.training, args, kwargs))


def _call_module(make: Callable[[], Any]) -> Callable[..., Any]:
    def run(call: Call, *args: Any, **kwargs: Any) -> Any:
        module = make()
        for path, value in call.attributes.items():
            setattr(_part(module, path[:-1]), str(path[-1]), value)
        before = dict(_plain_attributes(module))
        out = found = _part(module, call.path)
        if call.is_call:
            out = found(*args, **_with_mode(found, call.training, args, kwargs))
        # One that was None is worked out from the first input, and so will be the next time.
        call.changed = {
            path: value
            for path, value in _plain_attributes(module)
            if before.get(path) is not None and not _is_same(before[path], value)
        }
        return out

    return run


def _part(module: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        module = module[step[0]] if isinstance(step, tuple) else getattr(module, step)
    return module


def _is_same(a: Any, b: Any) -> bool:
    try:
        return a is b or (type(a) is type(b) and bool(a == b))
    except Exception:  # arrays in a tuple
        return False


def _plain_attributes(module: Module) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """The hyperparameters of a module and those within, by their paths."""
    seen: set[int] = set()

    def look(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any]]:
        if isinstance(value, (Module, list, dict)):
            if id(value) in seen:
                return
            seen.add(id(value))
        if isinstance(value, Module):
            for name, inner in vars(value).items():
                if not name.startswith("_"):
                    yield from look(inner, (*path, name))
        elif holds_modules(value):
            pairs: Any = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, inner in pairs:
                if isinstance(inner, Module) or holds_modules(inner):
                    yield from look(inner, (*path, (key,)))
        elif isinstance(value, (bool, int, float, str, bytes, tuple, type(None))):
            yield path, value

    return look(module, ())


def holds_modules(value: Any) -> bool:
    """Whether a value is a list, tuple or dict with modules in it."""
    items: Any = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, (list, tuple))
        else ()
    )
    return any(isinstance(item, Module) or holds_modules(item) for item in items)


def _class_that_is_made(f: Any) -> type[Module] | None:
    """The class of the module that `f` makes when it is called without arguments; None if it does not make one."""
    needed = _needed_arguments(f)
    if isinstance(f, type) and issubclass(f, Module):
        if needed:
            raise ViewTypeError(
                f"`ps.bind({f.__name__}, ...)`: {f.__name__} cannot be made without"
                f" {', '.join(map(repr, needed))}. Write `ps.bind(lambda: {f.__name__}(...), ...)`."
            )
        return f
    if needed is None or needed:
        return None
    found: list[Any] = []
    try:
        jax.eval_shape(
            transform_with_state(lambda: found.append(type(f()))).init, jax.random.key(0)
        )
    except Exception:
        return None  # it is a function of something, then
    return found[-1] if issubclass(found[-1], Module) else None


def _needed_arguments(f: Any) -> list[str] | None:
    """The arguments without which `f` cannot be called; None where it does not tell."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


# Training or not


def _with_mode(f: Any, training: bool | None, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Adds the argument that says whether a call trains, where the model knows it and the caller does not say."""
    found = None if training is None else _mode_argument(f)
    if found is None:
        return kwargs
    name, position = found
    if name in kwargs or position < len(args):
        return kwargs
    return {**kwargs, name: training == MODE_ARGUMENTS[name]}


def _mode_argument(f: Any) -> tuple[str, float] | None:
    """The name and position of the argument that says whether a call trains."""
    if isinstance(f, SetUpModule) and type(f).__call__ is SetUpModule.__call__:
        f = f.forward  # whose arguments `__call__` passes on
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    for i, parameter in enumerate(parameters):
        if parameter.name in MODE_ARGUMENTS:
            return parameter.name, math.inf if parameter.kind == parameter.KEYWORD_ONLY else i
    return None
