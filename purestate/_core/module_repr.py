"""How a module shows itself: as the call that made it, computed on demand."""

import inspect
from typing import Any

from purestate._core.config import get_config


def repr_module(self: Any) -> str:
    if (
        self._arguments is None
        or not get_config().module_auto_repr
        or not getattr(self, "AUTO_REPR", True)
    ):
        return object.__repr__(self)
    args, kwargs = self._arguments
    return _repr_call(type(self), args, kwargs)


def _repr_call(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Shows `cls(*args, **kwargs)` without defaults; on several lines if over 80 characters."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = dict(zip((p.name for p in positional), args, strict=False))
    named.update({p.name: kwargs[p.name] for p in positional if p.name in kwargs})
    defaults = {p.name: p.default for p in positional if p.default is not p.empty}
    shown = [
        (f"{name}=", value)
        for name, value in named.items()
        if not _is_same(value, defaults.get(name, _NOTHING))
    ]
    shown += [("", value) for value in args[len(positional) :]]
    shown += [(f"{name}=", value) for name, value in kwargs.items() if name not in named]
    line = f"{cls.__name__}({', '.join(label + repr(value) for label, value in shown)})"
    if len(line) <= 80:
        return line
    rows = (_indented(label, _pretty(value)) for label, value in shown)
    return f"{cls.__name__}(\n" + "".join(f"{row},\n" for row in rows) + ")"


_NOTHING = object()


def _is_same(value: Any, default: Any) -> bool:
    try:
        return bool(value == default)
    except Exception:  # arrays, and whatever an `__eq__` may raise
        return False


def _pretty(value: Any) -> str:
    import pprint  # here, since few modules are ever shown

    try:
        return pprint.pformat(value)
    except TypeError:
        return repr(value)


def _indented(label: str, text: str) -> str:
    return f"    {label}{text}".replace("\n", "\n    " + " " * len(label))
