"""Methods and submodules of a model that is made from a module: `model.encoder(x)`."""

import inspect
from typing import Any

import jax

from purestate._core.collection import Bundle
from purestate._core.path import is_inside
from purestate._state.set_up_module import Container
from purestate._views.calls import Call, Path, holds_modules, path_text
from purestate._views.errors import ViewAttributeError
from purestate._views.help import help_text, instance_doc, signature_of, target_of
from purestate._views.skeleton import is_callable_part, modules_at


class Member:
    """A method or submodule of a model: `model.encoder(x)`, `model.layers[0](x)`.

    It is a pytree of the parameters and state that the submodule has in the model. A function gets
    one of its own, without a random key: `model.update(member)` puts its values into a model.
    """

    __slots__ = ("_model", "_path")

    def __init__(self, model: Any, path: Path):
        self._model = model
        self._path = path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model._run(self._path, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return member(self._model, (*self._path, name))

    def __getitem__(self, key: Any) -> Any:
        return member(self._model, (*self._path, (key,)))

    @property
    def __signature__(self) -> inspect.Signature:
        target = target_of(self._model._static.f, self._path)
        if target is None:
            raise AttributeError("__signature__")
        return signature_of(target)

    def __reduce__(self) -> Any:
        return Member, (self._model, self._path)

    def __repr__(self) -> str:
        return f"<{path_text(self._path)} of {self._model!r}>"


def part_values(part: Member) -> tuple[Bundle, Bundle]:
    """Returns the parameters and the state that belong to a part of a model."""
    model = part._model
    bound = model._static.f
    looked = bound.look(model.params, model.state, model.rng)
    modules = modules_at(looked.skeleton, part._path)

    def belonging(bundle: Bundle) -> Bundle:
        return {
            path: values
            for path, values in bundle.items()
            if any(is_inside(path, module) for module in modules)
        }

    return belonging(model.params), belonging(model.state)


def _flatten_with_keys(part: Member) -> Any:
    (params, state), kept = _flatten(part)
    key = jax.tree_util.GetAttrKey
    return ((key("params"), params), (key("state"), state)), kept


def _flatten(part: Member) -> Any:
    return part_values(part), (type(part._model), part._model._static, part._path)


def _unflatten(kept: Any, values: Any) -> Member:
    cls, static, path = kept
    # Without the key: two parts of one model would draw the same keys.
    return Member(cls(static, *values, None), path)


jax.tree_util.register_pytree_with_keys(Member, _flatten_with_keys, _unflatten, _flatten)


def _help(part: Member) -> str:
    text = path_text(part._path)
    about = f"A call runs it with the parameters, state and key of {part._model!r}."
    return help_text(target_of(part._model._static.f, part._path), text, about)


Member.__doc__ = instance_doc(str(Member.__doc__), _help)


def member(model: Any, path: Path) -> Any:
    """Returns a `Member` for a method or submodule, and the value of any other attribute."""
    static = object.__getattribute__(model, "_static")
    bound = static.f
    if not bound.makes_module:
        raise ViewAttributeError(
            f"This model has no attribute {path[0]!r}. A model has methods and submodules if it is"
            " made from a module: `ps.bind(Net, params, state)`, or `ps.bind(lambda: Net(...),"
            " params, state)`."
        )
    if bound.looked is not None and is_callable_part(bound.looked.skeleton, path):
        return Member(model, path)  # without a run: a call of it will make the module
    call = Call(path, False, static, bound.see)
    try:
        found, *_ = bound.apply(model.params, model.state, None, call)
    except AttributeError as error:
        raise ViewAttributeError(
            f"{path_text(path)!r} was not found in the module that this model is made from:"
            f" {str(error).partition(chr(10))[0]}."
        ) from None
    if callable(found) or isinstance(found, Container) or holds_modules(found):
        return Member(model, path)
    return found
