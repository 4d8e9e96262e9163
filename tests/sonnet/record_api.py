"""What Sonnet's API is: names, arguments, methods, bases."""

import inspect
from typing import Any

NOT_OURS = ("Module", "AutoTrackable", "Trackable", "object", "ABC", "Generic")
PLACES = (
    "",
    "nets",
    "nets.resnet",
    "initializers",
    "regularizers",
    "optimizers",
    "pad",
    "functional",
    "mixed_precision",
    "distribute",
)


def default_of(value: Any) -> str:
    """A default in words that do not depend on the library."""
    if value is inspect.Parameter.empty:
        return ""
    if getattr(value, "__name__", None):
        return value.__name__
    if type(value).__name__ == "DType":
        return value.name
    return repr(value)


def bare(f: Any) -> Any:
    """The function that was decorated, also where a decorator of Sonnet does not say so."""
    while True:
        code = getattr(f, "__code__", None)
        cells = dict(zip(code.co_freevars, f.__closure__ or (), strict=True)) if code else {}
        if hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        elif "f" in cells and code.co_filename.endswith(("sonnet/src/utils.py", "src/once.py")):
            f = cells["f"].cell_contents
        else:
            return f


def parameters(f: Any) -> list[list[str]] | None:
    """Name, kind and default of each."""
    try:
        found = inspect.signature(bare(f)).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[p.name, p.kind.name, default_of(p.default)] for p in found]


def is_member(cls: type, name: str) -> bool:
    """Whether Sonnet defines it, and not TensorFlow or Python."""
    owner = next(c for c in cls.__mro__ if name in vars(c))
    return owner.__module__.startswith("sonnet")


def described_class(cls: type) -> dict[str, Any]:
    methods, properties = {}, []
    for name in dir(cls):
        if (name.startswith("_") and name != "__call__") or not is_member(cls, name):
            continue
        static = inspect.getattr_static(cls, name)
        if isinstance(static, property):
            properties.append(name)
        elif callable(getattr(cls, name)):
            methods[name] = parameters(getattr(cls, name))
    bases = [
        c.__name__
        for c in cls.__mro__[1:]
        if c.__module__.startswith("sonnet") and not c.__name__.startswith("_")
    ]
    return {
        "kind": "class",
        "init": parameters(cls.__init__),
        "fields": list(getattr(cls, "_fields", ())),
        "methods": methods,
        "properties": properties,
        "bases": bases,
        "abstract": sorted(getattr(cls, "__abstractmethods__", ())),
    }


def described(value: Any) -> dict[str, Any]:
    if inspect.isclass(value):
        return described_class(value)
    if inspect.ismodule(value):
        return {"kind": "module"}
    return {"kind": "function", "parameters": parameters(value)}


def api(snt: Any) -> dict[str, Any]:
    records = {}
    for place in PLACES:
        module = snt
        for part in filter(None, place.split(".")):
            module = getattr(module, part)
        names = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
        if not place:
            names = sorted({*names, "mixed_precision"})
        for name in names:
            path = f"{place}.{name}".lstrip(".")
            records[path] = described(getattr(module, name))
    return records
