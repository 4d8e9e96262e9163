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
    """A descriptor: the attribute reads and sets a variable of the module."""

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

    They set initial values: they run in each `apply`, and must not undo later changes.
    """
    scope = get_frame("An attribute").scope
    return getattr(module, "_in_set_up", False) or (
        scope.module is module and scope.method_name == "__init__"
    )


class StateAttribute(_Attribute):
    """The descriptor that `state_attr` returns."""

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
            self._read()  # so that `init` returns the declared initial value
        set_state(self.name, self._fitted(module, value), collection=self.collection)


class ParameterAttribute(_Attribute):
    """The descriptor that `param_attr` returns."""

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

    Reading calls `get_state` with the attribute's name, and setting calls `set_state`. Creators,
    getters and setters see both. A new value is converted to the declared dtype. A value set in
    `__init__` is an initial value: `apply` uses the one it was given instead.

    Args:
      shape: the shape, which does not change; None for any shape, and for pytrees.
      dtype: the dtype, which does not change.
      init: `init(shape, dtype)` returns the initial value, or `init()` without `shape`; or a value.
      collection: its collection; None means "state".

    Returns:
      A descriptor.

    Raises:
      ShapeMismatchError: it is set to a value of another shape.
      VariableTypeError: its initial value, or a later one, is not an array.
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

    Reading calls `get_parameter`. Setting calls `set_parameter`, which needs mutable parameters.

    Args:
      shape: the shape; None for a value that may be a pytree.
      dtype: the dtype.
      init: `init(shape, dtype)` returns the initial value, or `init()` without `shape`; or a value.
        Without both, `set_up` of a `SetUpModule` must set the initial value.
      trainable: see `get_parameter`.
      axes: see `get_parameter`.

    Returns:
      A descriptor.

    Raises:
      VariableTypeError: its initial value is not an array, or contains a module.
      ImmutableCollectionError: it is set, but parameters may not change.
    """
    return ParameterAttribute(shape, dtype, init, trainable, axes)
