"""`submodules`: the modules that a module holds in its attributes."""

from collections.abc import Iterator
from typing import Any, overload

from purestate._core.errors import kind_of
from purestate._core.module import Module
from purestate._state.set_up_module import Container
from purestate._views.calls import Call, Path, items_of
from purestate._views.errors import ViewTypeError
from purestate._views.members import Member
from purestate._views.model import Model

_OWN = ("_arguments", "_submodules")
"""Attributes that every module has: what its constructor got is not part of it by itself."""


@overload
def submodules(module: Module) -> list[Module]: ...
@overload
def submodules(module: "Model[..., Any] | Member") -> list[Member]: ...
def submodules(module: Any) -> list[Any]:
    """Returns the modules in the attributes of a module, and those in their attributes.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Net(ps.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.encoder = ps.Linear(4, name="encoder")
    ...         self.heads = {"a": ps.Linear(1, name="a"), "b": [ps.Linear(2, name="b")]}
    ...     def __call__(self, x):
    ...         return self.heads["a"](self.encoder(x))
    >>> def names(x):
    ...     net = Net()
    ...     net(x)
    ...     return [module.name for module in ps.submodules(net)]
    >>> f = ps.transform(names)
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> f.apply(params, None, jnp.ones([1, 3]))
    ['encoder', 'a', 'b']
    >>> model = ps.bind(Net, params)
    >>> ps.submodules(model)[0](jnp.ones([1, 3])).shape
    (1, 4)

    A module comes before its own submodules, and attributes come in the order in which they were
    set, also inside of lists, tuples, dicts and `ps.Container`. Each module comes once. A module
    that a method makes and does not keep is not among them; `ps.experimental.eval_summary` lists
    all modules that a call uses.

    Args:
      module: a module; or a model that `ps.bind` made from one, or a submodule of it.

    Returns:
      A list of modules, without `module` itself; for a model, of its submodules, which can be
      called and are pytrees. They are those that the constructor makes.

    Raises:
      ViewTypeError: `module` is something else.
    """
    if isinstance(module, Module):
        return [found for _, found in _inside(module, (), {id(module)})]
    model, path = _model_of(module)
    bound = model._static.f
    call = Call(path, False, model._static, bound.see)
    found, *_ = bound.apply(model.params, model.state, None, call)
    return [Member(model, (*path, *steps)) for steps, _ in _inside(found, (), {id(found)})]


def _model_of(module: Any) -> tuple[Any, Path]:
    if isinstance(module, Member):
        return module._model, module._path
    if isinstance(module, Model) and module._static.f.makes_module:
        return module, ()
    what = "a model of a function" if isinstance(module, Model) else kind_of(module)
    raise ViewTypeError(
        "`ps.submodules` takes a module, or a model that is made from a module, such as"
        f" `ps.bind(Net, params, state)`, but got {what}."
    )


def _inside(value: Any, path: Path, seen: set[int]) -> Iterator[tuple[Path, Module]]:
    """Yields the modules inside a value that are not yet in `seen`, with the way to each."""
    if isinstance(value, Module):
        parts = [(name, part) for name, part in vars(value).items() if name not in _OWN]
    else:
        items = value.items() if isinstance(value, Container) else items_of(value)
        parts = [((key,), item) for key, item in items]
    for step, part in parts:
        if not isinstance(part, (Module, Container, list, tuple, dict)) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Module):
            yield (*path, step), part
        yield from _inside(part, (*path, step), seen)
