"""Lists all method calls of a function, with shapes. It computes nothing."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, overload

import jax

from purestate._core.abstract import function_of_arrays, is_array
from purestate._core.frame import get_frame
from purestate._core.hooks import MethodContext, intercept_methods
from purestate._core.module import Module
from purestate._core.pairs import Transformed, TransformedWithState, original_function
from purestate._core.transform import transform_with_state
from purestate._editing.array_format import format_array
from purestate._inspection.tracing import AxisEnv, traced_again

if TYPE_CHECKING:
    from purestate._core.pairs import Init, InitWithState

P = ParamSpec("P")


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of an array.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.experimental.ArraySpec.from_array(jnp.ones([2, 3]))
    f32[2,3]

    Attributes:
      shape: the shape.
      dtype: the dtype.
    """

    shape: Sequence[int]
    dtype: Any

    def __repr__(self) -> str:
        return format_array(self)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @classmethod
    def from_array(cls, array: Any) -> "ArraySpec":
        """Returns the spec of an array.

        Args:
          array: an object with a shape and a dtype.

        Returns:
          Its spec.
        """
        return cls(array.shape, array.dtype)


@dataclasses.dataclass(frozen=True)
class ModuleDetails:
    """A module, and its method that runs.

    Attributes:
      module: the module.
      method_name: the name of the method.
      params: the specs of its own parameters and of all parameters used in it, by full name:
        `"mlp/~/linear_0/w"`.
      state: the specs of its state, likewise.
    """

    module: Module
    method_name: str
    params: Mapping[str, ArraySpec]
    state: Mapping[str, ArraySpec]

    @classmethod
    def of(cls, module: Module, method_name: str) -> "ModuleDetails":
        """Returns the details of a module as it is now.

        Args:
          module: the module.
          method_name: the name of the method.

        Returns:
          The details.

        Raises:
          FrameError: used outside a transformed function.
        """
        return cls(
            module, method_name, _specs_of(module.params_dict()), _specs_of(module.state_dict())
        )


@dataclasses.dataclass(frozen=True)
class MethodInvocation:
    """One call of a method, with specs in the place of arrays.

    Attributes:
      module_details: the called module.
      args_spec: the positional arguments.
      kwargs_spec: the keyword arguments.
      output_spec: the result.
      context: the context that a function of `intercept_methods` gets.
      call_stack: the modules whose methods are running: the called one first, the outermost last.
    """

    module_details: ModuleDetails
    args_spec: tuple[Any, ...]
    kwargs_spec: dict[str, Any]
    output_spec: Any
    context: MethodContext
    call_stack: Sequence[ModuleDetails]


def _specs_of(tree: Any) -> Any:
    return jax.tree.map(lambda x: ArraySpec.from_array(x) if is_array(x) else x, tree)


def _call_stack() -> tuple[ModuleDetails, ...]:
    scope = get_frame("`ps.experimental.eval_summary`").scope
    stack: list[ModuleDetails] = []
    while scope is not None:
        if scope.module is not None:
            stack.append(ModuleDetails.of(scope.module, scope.method_name))
        scope = scope.outer
    return tuple(stack)


_IGNORED = ("__init__", "params_dict", "state_dict")


def _record(
    calls: list[MethodInvocation | None],
    next_method: Callable[..., Any],
    args: Any,
    kwargs: Any,
    context: MethodContext,
) -> Any:
    if context.method_name in _IGNORED:
        return next_method(*args, **kwargs)
    place = len(calls)
    calls.append(None)  # a call comes before the calls inside it
    out = next_method(*args, **kwargs)
    calls[place] = MethodInvocation(
        ModuleDetails.of(context.module, context.method_name),
        _specs_of(args),
        _specs_of(kwargs),
        _specs_of(out),
        context,
        _call_stack(),
    )
    return out


def calls_of(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], axis_env: AxisEnv = ()
) -> list[MethodInvocation]:
    """Returns the method calls in one run of `f`, with the variables that `init` makes."""
    run, arrays = function_of_arrays(f, args, kwargs)
    init, apply = transform_with_state(run)
    calls: list[MethodInvocation | None] = []

    def init_and_apply(arrays: list[Any]) -> None:
        init_key, apply_key = jax.random.split(jax.random.PRNGKey(42))
        params, state = traced_again(init, axis_env)(init_key, arrays)
        # Traced again, since `init` traced jitted functions in `f` without recording them.
        with intercept_methods(functools.partial(_record, calls)):
            traced_again(apply_for_calls, axis_env)(params, state, apply_key, arrays)

    def apply_for_calls(*args: Any) -> None:
        apply(*args)

    jax.eval_shape(init_and_apply, arrays)
    return [call for call in calls if call is not None]


@overload
def eval_summary(
    f: "Transformed[Init[P], Any] | TransformedWithState[InitWithState[P], Any]",
) -> "Callable[P, Sequence[MethodInvocation]]": ...
@overload
def eval_summary(f: "Callable[..., Any]") -> "Callable[..., Sequence[MethodInvocation]]": ...
def eval_summary(f: Any) -> Callable[..., Sequence[MethodInvocation]]:
    """Returns a function that lists all method calls in `f`. It computes nothing.

    A call in a loop (`ps.scan`, `ps.dynamic_unroll`) is listed once, not once per step.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f(x, is_training):
    ...     return ps.nets.MLP([8, 2])(x)
    >>> for call in ps.experimental.eval_summary(f)(jnp.ones([4, 3]), is_training=True):
    ...     print(call.module_details.module.module_name, call.output_spec)
    mlp f32[4,2]
    mlp/~/linear_0 f32[4,8]
    mlp/~/linear_1 f32[4,2]

    Args:
      f: a function that uses modules; or what `transform` or `transform_with_state` returned for
        it, or one half of that.

    Returns:
      A function of the arguments of the untransformed function. Arrays may be
      `jax.ShapeDtypeStruct`s; other arguments stay Python values.
    """
    original = original_function(f)
    return lambda *args, **kwargs: calls_of(original, args, kwargs)
