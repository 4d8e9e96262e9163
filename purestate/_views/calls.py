"""One call of a model, or of a part of its module, inside a run of the function."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from purestate._core.module import Module
from purestate._views.modes import with_mode

Step = str | tuple[Any]
"""One step into a module: the name of an attribute, or `(key,)` for an item of a list or dict."""

Path = tuple[Step, ...]


class Call:
    """What a run of a model does: it calls the model or a part of it, or returns that part.

    Attributes:
      path: the way to the part; empty for the model itself.
      is_call: whether to call the part, and not to return it.
      training: the mode that calls have by default.
      attributes: plain attributes that earlier calls changed, by their paths.
      changed: those that this call changed.
      observe: called with the module that the run made.
    """

    __slots__ = ("attributes", "changed", "is_call", "observe", "path", "training")

    def __init__(
        self,
        path: Path,
        is_call: bool,
        static: Any,
        observe: Callable[[Module], None] | None = None,
    ):
        self.path = path
        self.is_call = is_call
        self.training: bool | None = static.training
        self.attributes: Mapping[Path, Any] = dict(static.attributes)
        self.changed: dict[Path, Any] = {}
        self.observe = observe


def call_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a `Call` and the arguments of `f`, which runs `f`."""
    return lambda call, *args, **kwargs: f(*args, **with_mode(f, call.training, args, kwargs))


def call_module(make: Callable[[], Module]) -> Callable[..., Any]:
    """Returns a function of a `Call` and arguments: it makes a module and runs the call on it."""

    def run(call: Call, *args: Any, **kwargs: Any) -> Any:
        module = make()
        if call.observe is not None:
            call.observe(module)
        for path, value in call.attributes.items():
            setattr(part_of(module, path[:-1]), str(path[-1]), value)
        before = dict(plain_attributes(module))
        out = found = part_of(module, call.path)
        if call.is_call:
            out = found(*args, **with_mode(found, call.training, args, kwargs))
        # An attribute that was None is derived from the input, and will be derived next time too.
        call.changed = {
            path: value
            for path, value in plain_attributes(module)
            if before.get(path) is not None and not _is_same(before[path], value)
        }
        return out

    return run


def part_of(module: Any, path: Path) -> Any:
    """Returns the part of a module at the end of a path."""
    for step in path:
        module = module[step[0]] if isinstance(step, tuple) else getattr(module, step)
    return module


def path_text(path: Path) -> str:
    """Returns a path as it is written in code: `layers[0].rate`."""
    return "".join(
        f"[{step[0]!r}]" if isinstance(step, tuple) else f".{step}" for step in path
    ).removeprefix(".")


def _is_same(a: object, b: object) -> bool:
    try:
        return a is b or (type(a) is type(b) and bool(a == b))
    except Exception:  # arrays in a tuple
        return False


def plain_attributes(module: Module) -> Iterator[tuple[Path, Any]]:
    """Yields the hyperparameters of a module and of its submodules, with their paths."""
    seen: set[int] = set()

    def look(value: object, path: Path) -> Iterator[tuple[Path, Any]]:
        if isinstance(value, (Module, list, dict)):
            if id(value) in seen:
                return
            seen.add(id(value))
        if isinstance(value, Module):
            for name, inner in vars(value).items():
                if not name.startswith("_"):
                    yield from look(inner, (*path, name))
        elif holds_modules(value):
            for key, inner in items_of(value):
                if isinstance(inner, Module) or holds_modules(inner):
                    yield from look(inner, (*path, (key,)))
        elif isinstance(value, (bool, int, float, str, bytes, tuple, type(None))):
            yield path, value

    return look(module, ())


def items_of(value: object) -> Iterable[tuple[Any, Any]]:
    """Returns pairs of key and item of a dict, of index and item of a list or tuple."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def holds_modules(value: object) -> bool:
    """Whether a value is a list, tuple or dict with modules in it."""
    return any(isinstance(item, Module) or holds_modules(item) for _, item in items_of(value))


def is_hashable(value: object) -> bool:
    """Whether a value, with all that is in it, can be hashed."""
    try:
        hash(value)
    except TypeError:
        return False
    return True
