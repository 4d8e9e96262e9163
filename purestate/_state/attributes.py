"""Variables as attributes of a module's class: `self.count += 1` reads and sets state."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import MissingInitializerError, ModuleError, ShapeMismatchError
from purestate._core.frame import get_frame
from purestate._core.path import variable_path
from purestate._core.scope import Scope
from purestate._core.variables import get_parameter, get_state, set_state
from purestate._state.named_variables import get_variable, has_variable, set_parameter, variable


class _Attribute(abc.ABC):
    """A descriptor: what is written and read as an attribute is a variable of the module."""

    def __init__(self, shape: Sequence[int] | None, dtype: Any, init: Any):
        self.shape = None if shape is None else tuple(shape)
        self.dtype = dtype
        self.name = ""
        # A value instead of a function stands for itself.
        self.init: Any = init if init is None or callable(init) else (lambda *shape_and_dtype: init)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _in_module(self, module: Any, run: Callable[..., Any], *args: Any) -> Any:
        """Runs something in the scope of the module that the attribute belongs to."""
        frame = get_frame(f"The attribute {self.name!r} of {type(module).__name__}")
        outer = frame.scope
        if outer.module is module:
            return run(*args)
        if module._path is None:
            raise ModuleError(
                f"{type(module).__name__} uses its attribute {self.name!r} before it has a name."
                " Call `super().__init__(name=name)` first thing in its `__init__`."
            )
        frame.scope = Scope(module, module._path, "__call__", outer)
        try:
            return run(*args)
        finally:
            frame.scope = outer

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        return self if module is None else self._in_module(module, self._read)

    def __set__(self, module: Any, value: Any) -> None:
        if value is not self:  # a dataclass sets a field to its default, which is the descriptor
            self._in_module(module, self._write, module, value)

    @abc.abstractmethod
    def _read(self) -> Any:
        """Returns the variable's value."""

    @abc.abstractmethod
    def _write(self, module: Any, value: Any) -> None:
        """Sets the variable."""

    def _fitted(self, module: Any, value: Any) -> Any:
        """Returns an array in the dtype that was declared; raises if its shape is another."""
        if self.shape is None:
            return value
        value = jnp.asarray(value)
        if value.shape != self.shape:
            raise ShapeMismatchError(
                f"{variable_path(module._path, self.name)!r} is declared with shape {self.shape},"
                f" and was set to a value of shape {value.shape}. Declare it without a shape, as"
                " init=lambda: value, if its shape is to change."
            )
        return value if value.dtype == self.dtype else value.astype(self.dtype)


def _is_being_made(module: Any) -> bool:
    """Whether `__init__` or `set_up` of a module runs.

    What they set is a first value: they run in each `apply`, and are not to undo what was set
    since.
    """
    scope = get_frame("An attribute").scope
    return getattr(module, "_in_set_up", False) or (
        scope.module is module and scope.method_name == "__init__"
    )


class StateAttribute(_Attribute):
    """What `state_attr` makes."""

    def __init__(self, shape: Sequence[int] | None, dtype: Any, init: Any, collection: str | None):
        super().__init__(shape, jnp.dtype(dtype), init)
        self.collection = collection

    def _read(self) -> Any:
        if self.shape is None and self.init is not None:
            return variable(self.collection or "state", self.name, init=self.init).value
        return get_state(self.name, self.shape, self.dtype, self.init, collection=self.collection)

    def _write(self, module: Any, value: Any) -> None:
        is_there = has_variable(self.collection or "state", self.name)
        if _is_being_made(module):
            if not is_there:
                set_state(self.name, self._fitted(module, value), collection=self.collection)
            return
        if self.init is not None and not is_there:
            self._read()  # so that what `init` returns is the declared first value
        set_state(self.name, self._fitted(module, value), collection=self.collection)


class ParameterAttribute(_Attribute):
    """What `param_attr` makes."""

    def __init__(
        self, shape: Sequence[int] | None, dtype: Any, init: Any, trainable: bool, axes: Any
    ):
        super().__init__(shape, jnp.dtype(dtype), init)
        self.trainable = trainable
        self.axes = axes

    def _read(self) -> Any:
        if self.shape is not None:
            return get_parameter(
                self.name,
                self.shape,
                self.dtype,
                self.init,
                trainable=self.trainable,
                axes=self.axes,
            )
        if self.init is not None:
            value = variable("params", self.name, init=self.init, trainable=self.trainable).value
        elif has_variable("params", self.name):
            value = get_variable("params", self.name)
        else:
            module = get_frame("A parameter").scope.module
            raise MissingInitializerError(
                f"{variable_path(module._path, self.name)!r} is declared as `param_attr()`, without"
                " shape and initializer, and has no value yet. Set it in `set_up`, or declare"
                " both."
            )
        return value if self.trainable else jax.lax.stop_gradient(value)

    def _write(self, module: Any, value: Any) -> None:
        if _is_being_made(module):
            variable(
                "params",
                self.name,
                init=lambda: self._fitted(module, value),
                trainable=self.trainable,
            )
            return
        if self.init is not None and not has_variable("params", self.name):
            self._read()
        set_parameter(self.name, self._fitted(module, value))


def state_attr(
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    init: Any = None,
    *,
    collection: str | None = None,
) -> Any:
    """Declares state of a module as an attribute of its class, to be read and set in place.

    >>> import jax.numpy as jnp, purestate as ps
    >>> class Average(ps.Module):
    ...     count = ps.state_attr([], jnp.int32, jnp.zeros)
    ...     total = ps.state_attr([], jnp.float32, jnp.zeros)
    ...     def __call__(self, x):
    ...         self.count += x.size
    ...         self.total += x.sum()
    ...         return self.total / self.count
    >>> f = ps.transform_with_state(lambda x: Average()(x))
    >>> params, state = f.init(None, jnp.ones([2]))
    >>> out, state = f.apply(params, state, None, jnp.array([1.0, 4.0]))
    >>> float(out), int(state["average"]["count"])
    (2.5, 2)

    Reading is `get_state` under the attribute's name, and setting is `set_state`, so that creators,
    getters and setters see both. What is set is brought to the declared dtype. What `__init__` sets
    is a first value: where `apply` was given one, that stays.

    Args:
      shape: the shape, which stays; None for any, and for pytrees.
      dtype: the dtype, which stays.
      init: `init(shape, dtype)` makes the first value; without `shape`, `init()`; or a value.
      collection: where it belongs, if not to "state".

    Returns:
      A descriptor.

    Raises:
      ShapeMismatchError: when it is set to a value of another shape.
      VariableTypeError: when its first value, or what it is set to, is no array.
    """
    return StateAttribute(shape, dtype, init, collection)


def param_attr(
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    init: Any = None,
    *,
    trainable: bool = True,
    axes: Sequence[str | None] | None = None,
) -> Any:
    """Declares a parameter of a module as an attribute of its class.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Scale(ps.Module):
    ...     scale = ps.param_attr([3], init=jnp.ones)
    ...     def __call__(self, x):
    ...         return x * self.scale
    >>> f = ps.transform(lambda x: Scale()(x))
    >>> jax.tree.map(jnp.shape, f.init(None, jnp.ones([2, 3])))
    {'scale': {'scale': (3,)}}

    Reading is `get_parameter`. Setting is `set_parameter`, which needs parameters to be mutable.

    Args:
      shape: the shape; None for a value that may be a pytree.
      dtype: the dtype.
      init: `init(shape, dtype)` makes the first value; without `shape`, `init()`; or a value. Where
        both are missing, the first value is what `set_up` of a `SetUpModule` sets it to.
      trainable: see `get_parameter`.
      axes: see `get_parameter`.

    Returns:
      A descriptor.

    Raises:
      VariableTypeError: when its first value is no array, or contains a module.
      ImmutableCollectionError: when it is set where parameters may not change.
    """
    return ParameterAttribute(shape, dtype, init, trainable, axes)
