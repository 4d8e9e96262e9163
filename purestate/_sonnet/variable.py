"""`Variable`: an array of the frame as an object, as `tf.Variable` is one."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.frame import Creating, Frame
from purestate._core.naming import path_here
from purestate._core.path import ROOT
from purestate._core.scope import Scope
from purestate._core.trace_guard import is_compiled_inside
from purestate._core.variables import get_parameter, get_state
from purestate._sonnet.copying import plain_name, variable_state
from purestate._sonnet.errors import SonnetTypeError
from purestate._sonnet.late_value import LateValue
from purestate._sonnet.operators import add_operators
from purestate._sonnet.outside import OUTSIDE, forget_with, in_a_frame
from purestate._sonnet.variable_errors import check_given_shape, used_in_compiled, wrong_frame
from purestate._sonnet.variable_values import fitting, full_name, initial, initial_shape
from purestate._state.named_variables import set_variable

Initialize = Callable[[Sequence[int], Any], Any]


class Variable:
    """A variable of the running module; a parameter if it is trainable, else state.

    It works in place of an array: `x @ v`, `jnp.tanh(v)`, `v[0]`. It is a pytree of one array.
    `w:0` of the module `a/b` is `params["a/b"]["w"]`, or `state["a/b"]["w"]` if it is not
    trainable. Variables of one name in one module are numbered.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> class Counter(snt.Module):
    ...     def __init__(self, name=None):
    ...         super().__init__(name=name)
    ...         self.count = snt.Variable(0, trainable=False, name="count")
    ...     def __call__(self):
    ...         return self.count.assign_add(1)
    >>> f = ps.transform_with_state(lambda: Counter()().value())
    >>> params, state = f.init(None)
    >>> count, state = f.apply(params, state, None)
    >>> int(count), state
    (1, {'counter': {'count': Array(1, dtype=int32)}})

    Two variables are equal if they are the same one. To compare their values, compare `v.value()`.

    Args:
      initial_value: an array, or a function without arguments that returns one. A function is
        called only if the variable has no value yet, so give one if it draws a random key.
      trainable: whether it is a parameter.
      name: its name within the module.
      dtype: its dtype; None takes that of the initial value.
      shape: its shape; None takes that of the initial value.

    Attributes:
      shape: its shape.
      dtype: its dtype.
      trainable: whether it is a parameter.
      collection: the collection it is kept in, "params" or "state".
      path: `(module path, name)`, its place in params or state.

    Raises:
      SonnetValueError: the initial value is missing, or has another shape than `shape`.
      MissingParameterError: `apply` was given no such parameter.
      ShapeMismatchError: `apply` was given one of another shape.
    """

    # Before numpy's own operators, so that `array * variable` is an array of JAX.
    __array_priority__ = 100

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool = True,
        *,
        name: str = "Variable",
        dtype: Any = None,
        shape: Sequence[int] | None = None,
    ):
        with in_a_frame() as frame:
            self._belong(frame, name, trainable)
            given = self._find()
            if given is None and isinstance(initial_value, LateValue):
                value = initial_value  # a run that has no key creates no parameter either
            elif given is None:
                value = self._first_value(frame, initial_value, dtype)
            else:
                value = given
            made = value if given is None else initial_value
            self.shape: tuple[int, ...] = initial_shape(made, shape, value.shape, self.name)
            self.dtype: Any = value.dtype
            self._init: Initialize = lambda shape, dtype: initial(initial_value, dtype, name)
            check_given_shape(self, self._at_home(self._create, lambda shape, dtype: value))

    @classmethod
    def create(
        cls, name: str, shape: Sequence[int], dtype: Any, init: Initialize, trainable: bool = True
    ) -> "Variable":
        """Creates a variable of known shape, whose initializer runs only if it has no value.

        Args:
          name: its name within the module.
          shape: its shape.
          dtype: its dtype.
          init: `init(shape, dtype)` returns the initial value.
          trainable: whether it is a parameter.

        Returns:
          The variable.
        """
        variable: Variable = cls.__new__(cls)
        with in_a_frame() as frame:
            variable._belong(frame, name, trainable)
            variable.shape = tuple(int(size) for size in shape)
            variable.dtype = jnp.dtype(dtype)
            variable._init = lambda shape, dtype: jnp.asarray(init(shape, dtype), dtype)
            check_given_shape(variable, variable._at_home(variable._create, variable._init))
        return variable

    @classmethod
    def existing(
        cls, frame: Frame, module: Any, path: str, name: str, collection: str
    ) -> "Variable":
        """Returns a handle of a variable that something else has created.

        Args:
          frame: the frame that has it.
          module: the module that it belongs to.
          path: the path it is kept under.
          name: its name.
          collection: the collection it is kept in.

        Returns:
          The variable.
        """
        variable: Variable = cls.__new__(cls)
        variable._frame, variable._scope = frame, Scope(module, path, "__call__", frame.scope)
        variable.path, variable.trainable = (path, name), collection == "params"
        variable.collection = collection
        variable._name = full_name(plain_name(frame, path), name)
        value = variable._find()
        variable.shape, variable.dtype = tuple(value.shape), value.dtype
        variable._init = lambda shape, dtype: value
        return variable

    def _belong(self, frame: Frame, name: str, trainable: bool, copied: bool = False) -> None:
        """Finds the place of a new variable: the running module, and a name that is free.

        A copy has the name of the original, since its module is a copy too.
        """
        self._frame = frame
        self._scope: Scope = frame.scope
        module = path_here(frame, frame.scope)
        if frame is OUTSIDE.frame and is_compiled_inside(frame.home.trace):
            raise used_in_compiled(full_name(plain_name(frame, module), name))
        built = frame.ledger.built
        if "/" in name:  # as in TensorFlow, "a/w" is the variable "w" below "a"
            below, _, name = name.rpartition("/")
            owner, module = module, f"{module}/{below}"
            self._scope = Scope(frame.scope.module, module, "__call__", frame.scope)
            built["below", owner] = (*built.get(("below", owner), ()), module)
        taken: dict[str, int] = built.get(("variables", module), {})  # and the next free number
        kept = frame.collections["params" if trainable else "state"].values.get(module, {})
        outside = frame is OUTSIDE.frame
        number = 0 if copied else taken.get(name, 0)
        free = f"{name}_{number}" if number else name
        # Outside, a variable may stay that was made in a trace which was undone.
        while (free in taken or (outside and free in kept)) and not copied:
            number += 1
            free = f"{name}_{number}"
        if free not in taken:
            built["variables", module] = {**taken, free: 1, name: number + 1}
        self.path: tuple[str, str] = (module, free)
        self.trainable = bool(trainable)
        self.collection = "params" if trainable else "state"
        self._name = full_name(plain_name(frame, module), name if outside else free)
        if outside and module == ROOT:  # those of a module end with it
            forget_with(self, *self.path)

    def _find(self) -> Any:
        """Returns the value that the frame has, or None."""
        module, name = self.path
        frame, kind = self._frame, self.collection
        value = frame.collections[kind].values.get(module, {}).get(name)
        for observer in () if value is None else frame.observers:
            # A transform that looks ahead may show one element in place of all.
            value = observer.read(frame, kind, module, name, value)
        return value

    def _first_value(self, frame: Frame, initial_value: Any, dtype: Any) -> jax.Array:
        """Returns the initial value. A key that it draws is one for this variable."""
        outer, frame.creating = frame.creating, Creating(self.collection, *self.path)
        try:
            return initial(initial_value, dtype, self.path[1])
        finally:
            frame.creating = outer

    def _create(self, init: Initialize) -> Any:
        _, name = self.path
        if self.trainable:
            return get_parameter(name, self.shape, self.dtype, init)
        collection = None if self.collection == "state" else self.collection
        return get_state(name, self.shape, self.dtype, init, collection=collection)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Says to `copy.deepcopy` and pickle what a copy is made of; it gets another path."""
        with in_a_frame(self._frame) as frame:
            return _new_variable, (type(self),), variable_state(self, frame)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        root, (path, name), full_name, trainable, shared, source = state
        self._root = root  # the variables of copies end with it
        value = shared.value
        with in_a_frame() as frame:
            scope = Scope(None, root.moved(path), "__call__", None)
            outer, frame.scope = frame.scope, scope
            try:
                self._belong(frame, name, trainable, copied=scope.path != ROOT)
                self._name = full_name
                self.shape, self.dtype = tuple(value.shape), value.dtype
                self._init = lambda shape, dtype: value if source is None else source.value.value()
                self._create(lambda shape, dtype: value)
            finally:
                frame.scope = outer

    def _at_home(self, run: Callable[..., Any], *args: Any) -> Any:
        """Runs something in the module that created the variable."""
        with in_a_frame(self._frame) as frame:
            if frame is not self._frame:
                raise wrong_frame(self._frame, frame, self.name, (self.collection, *self.path))
            if frame is OUTSIDE.frame and is_compiled_inside(frame.home.trace):
                raise used_in_compiled(self.name)
            outer, frame.scope = frame.scope, self._scope
            try:
                return run(*args)
            finally:
                frame.scope = outer

    def value(self) -> jax.Array:
        """Returns the current value."""
        return self._at_home(self._create, self._init)

    read_value = value

    def numpy(self) -> np.ndarray[Any, Any]:
        """Returns the current value as an array of numpy."""
        return np.asarray(self.value())

    def assign(self, value: Any, read_value: bool = True) -> "Variable":
        """Sets the variable. As in TensorFlow, the gradient does not flow through the stored value.

        Args:
          value: an array of the same shape; it is cast to the dtype of the variable.
          read_value: accepted and ignored.

        Returns:
          The variable.

        Raises:
          ShapeMismatchError: `value` has another shape.
          SonnetTypeError: `value` is of floats, and the variable of integers.
          ImmutableCollectionError: a parameter of a function that `transform_with_state`
            transformed. Inside it only state changes.
        """
        del read_value
        self._at_home(self._set, jax.lax.stop_gradient(self._fitting(value)))
        return self

    def _fitting(self, value: Any) -> jax.Array:
        return fitting(value_of(value), self.name, self.shape, self.dtype)

    def assign_add(self, delta: Any, read_value: bool = True) -> "Variable":
        """Adds to the variable; see `assign`."""
        return self.assign(self.value() + self._fitting(delta), read_value)

    def assign_sub(self, delta: Any, read_value: bool = True) -> "Variable":
        """Subtracts from the variable; see `assign`."""
        return self.assign(self.value() - self._fitting(delta), read_value)

    def _set(self, value: jax.Array) -> None:
        set_variable(self.collection, self.path[1], value)

    @property
    def name(self) -> str:
        """The path of the module and the name, as TensorFlow writes them."""
        return self._name

    @property
    def T(self) -> jax.Array:  # noqa: N802 (as of arrays)
        """The value transposed."""
        return self.value().T

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    def __jax_array__(self) -> jax.Array:
        return self.value()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.value(), dtype)

    def __getitem__(self, index: Any) -> jax.Array:
        return self.value()[index]

    def __len__(self) -> int:
        return len(self.value())

    def __float__(self) -> float:
        return float(self.value())

    def __int__(self) -> int:
        return int(self.value())

    def __index__(self) -> int:
        return operator.index(self.value())

    def __bool__(self) -> bool:
        return bool(self.value())

    def __repr__(self) -> str:
        kind = "" if self.trainable else ", not trainable"
        return f"<Variable {self.name!r} {list(self.shape)} {self.dtype.name}{kind}>"


def _new_variable(cls: type[Variable]) -> Variable:
    return cls.__new__(cls)


class HeldVariable(Variable):
    """A variable as JAX passes it on: its place and a value, which cannot be set.

    `Variable` is a pytree of one array, so that functions of JAX take it. What they unflatten is
    this.
    """

    def __init__(self, place: tuple[tuple[str, str], str, bool], value: Any):
        self.path, self._name, self.trainable = place
        self.collection = "params" if self.trainable else "state"
        self._value = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        return HeldVariable, ((self.path, self._name, self.trainable), self._value)

    @property
    def shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(self._value.shape)

    @property
    def dtype(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._value.dtype

    def value(self) -> Any:
        return self._value

    read_value = value

    def assign(self, value: Any, read_value: bool = True) -> Variable:
        raise SonnetTypeError(
            f"This is the value of {self.name!r} that JAX passed on, so it cannot be set. Pass the"
            " value as an array, and set the variable itself. In jax.tree.map, have variables kept"
            " whole: is_leaf=lambda x: isinstance(x, snt.Variable)."
        )


def _flatten(variable: Variable) -> Any:
    return (variable.value(),), (variable.path, variable.name, variable.trainable)


def _unflatten(place: Any, children: Any) -> HeldVariable:
    return HeldVariable(place, *children)


for _class in (Variable, HeldVariable):
    jax.tree_util.register_pytree_node(_class, _flatten, _unflatten)


def is_variable(x: object) -> bool:
    """Whether `x` is a variable. As `is_leaf` it keeps variables whole."""
    return isinstance(x, Variable)


def value_of(x: Any) -> Any:
    """Returns the value of a variable; anything else as it is."""
    return x.value() if isinstance(x, Variable) else x


add_operators(Variable, value_of)
