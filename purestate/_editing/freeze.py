"""`freeze`: parameters without a gradient."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax

from purestate._core.creation import lift_prefix
from purestate._core.errors import VariableError
from purestate._core.frame import get_frame, inside_transform
from purestate._core.hooks import ActiveHooks, GetterContext, Hook
from purestate._core.parameters_read import note_same_parameter
from purestate._core.path import variable_path
from purestate._editing.predicates import as_predicate


def freeze(predicate: Callable[[str, str, Any], Any] | str = "*") -> AbstractContextManager[None]:
    """Stops the gradients of the parameters, read in the `with` block, that a predicate accepts.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     with ps.freeze("*/b"):
    ...         return ps.Linear(1)(x)
    >>> f, x = ps.transform(forward), jnp.ones([2, 1])
    >>> params = f.init(jax.random.key(0), x)
    >>> grads = jax.grad(lambda params: f.apply(params, None, x).sum())(params)
    >>> grads["linear"]["b"].tolist(), grads["linear"]["w"].tolist()
    ([0.0], [[2.0]])
    >>> ps.trainable_mask(ps.specs(f)(jax.random.key(0), x))
    {'linear': {'b': False, 'w': True}}

    The block may be in a transformed function, or around calls of `init`, `apply` and `ps.specs`.
    With `jax.jit` it belongs inside the compiled function, since JAX does not trace again for it.
    A zero gradient does not keep an optimizer with momentum or weight decay from changing a
    parameter; `ps.trainable_only` does.

    In a function under `ps.lift` or `ps.layer_stack`, names are the names inside that function.

    Args:
      predicate: a glob of full names, such as `"encoder/*"`; a `Predicate`; or a function of
        module, name and value. Values may be tracers, so it can only look at shape and dtype.

    Returns:
      A context manager.

    Raises:
      VariableError: in `init`, if it accepts only one of the two names of a variable of a lifted
        function.
    """
    holds = as_predicate(predicate)
    within = _prefix() if inside_transform() else ""

    def getter(next_getter: Callable[[Any], Any], value: Any, context: GetterContext) -> Any:
        module, name = context.module_name, context.name
        frozen = bool(holds(module, name, value))
        outer = (_prefix() + module).removeprefix(within)
        if outer != module and frozen != bool(holds(outer, name, value)):
            raise VariableError(
                f"freeze: the parameter {variable_path(outer, name)!r} of a lifted function is"
                f" {variable_path(module, name)!r} inside that function, and this is the name that"
                f" counts. {predicate!r} accepts only the {'second' if frozen else 'first'} name."
                " Write one that says the same of both, or use the block inside that function."
            )
        if not frozen:
            return next_getter(value)
        for observer in get_frame("`ps.freeze`").observers:
            observer.froze(_prefix() + module, name)
        fixed = jax.lax.stop_gradient(value)
        note_same_parameter(fixed, value)
        return next_getter(fixed)

    return ActiveHooks(Hook(("get", "params"), getter, ("freeze", predicate, within)))


def _prefix() -> str:
    return lift_prefix() or ""
