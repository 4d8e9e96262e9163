"""`dynamic_loss_scale`: an optimizer whose state has the factor of the loss."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

import jax
import jax.numpy as jnp

from purestate._core.errors import kind_of
from purestate._core.outlines import outline_argument
from purestate._editing.paths import is_hole
from purestate._editing.trainable_only import Optimizer
from purestate._precision.errors import LossScaleError

if TYPE_CHECKING:
    from purestate._editing.trainable_only import Transformation

    class _NamedPair(Transformation, Protocol):  # such as optax's GradientTransformation
        def _replace(self, **kwargs: Any) -> Any: ...

    N = TypeVar("N", bound=_NamedPair)


class LossScaleState(NamedTuple):
    """The state of `dynamic_loss_scale`: arrays only, so `ps.checkpoint` saves it.

    >>> import jax.numpy as jnp, optax, purestate as ps
    >>> tx = ps.mixed_precision.dynamic_loss_scale(optax.sgd(0.1))
    >>> state = tx.init({"linear": {"w": jnp.ones([2])}})
    >>> float(state.scale), int(state.finite_steps), int(state.skipped)
    (32768.0, 0, 0)

    Attributes:
      scale: the factor of the loss in the next step, `float32[]`.
      finite_steps: the steps with finite gradients since the factor last changed, `int32[]`.
      skipped: how many steps were skipped so far, `int32[]`.
      inner_state: the state of the inner optimizer.
    """

    scale: jax.Array
    finite_steps: jax.Array
    skipped: jax.Array
    inner_state: Any


@overload
def dynamic_loss_scale(
    inner: "N",
    initial: float = 2.0**15,
    *,
    growth_interval: int = 2000,
    factor: float = 2.0,
    minimum: float = 1.0,
) -> "N": ...
@overload
def dynamic_loss_scale(
    inner: "Transformation",
    initial: float = 2.0**15,
    *,
    growth_interval: int = 2000,
    factor: float = 2.0,
    minimum: float = 1.0,
) -> Any: ...
def dynamic_loss_scale(
    inner: Any,
    initial: float = 2.0**15,
    *,
    growth_interval: int = 2000,
    factor: float = 2.0,
    minimum: float = 1.0,
) -> Any:
    """Makes an optimizer for gradients of a scaled loss, which adapts the scale.

    In float16, small gradients become zero. So the loss is multiplied by a large number, and the
    gradients, computed in float16, are divided by it in float32 (Micikevicius et al. 2018,
    arXiv:1710.03740, section 3.2). If any gradient is infinite or NaN, the step is skipped and the
    scale divided by `factor`; after `growth_interval` consecutive steps with finite gradients it is
    multiplied by `factor`. The sequence of scales is that of jmp's `DynamicLossScale`.

    >>> import jax, jax.numpy as jnp, optax, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(1)(x))
    >>> x = jnp.ones([4, 3])
    >>> tx = ps.mixed_precision.dynamic_loss_scale(optax.adam(0.1), initial=1024.0)
    >>> @jax.jit
    ... def step(params, opt_state, x):
    ...     def scaled_loss(params):
    ...         loss = (f.apply(params, None, x) ** 2).mean()
    ...         return loss * ps.mixed_precision.loss_scale(opt_state), loss
    ...     grads, loss = jax.grad(scaled_loss, has_aux=True)(params)
    ...     updates, opt_state = tx.update(grads, opt_state, params)
    ...     return optax.apply_updates(params, updates), opt_state, loss
    >>> params = f.init(jax.random.key(0), x)
    >>> opt_state = tx.init(params)
    >>> params, opt_state, loss = step(params, opt_state, x)
    >>> new, opt_state, loss = step(params, opt_state, x * jnp.inf)  # a step that overflows
    >>> bool((new["linear"]["w"] == params["linear"]["w"]).all()), float(opt_state.scale)
    (True, 512.0)

    All transforms of gradients, such as clipping by the global norm, belong inside `inner`: outside
    they would see scaled gradients. So does `optax.MultiSteps`, which adds up gradients: outside,
    one infinite gradient would stay in its sum for ever. With several devices, average the
    gradients before the step, so that all devices skip the same steps.

    A skipped step keeps params and the inner state. It does not know the state of the model, such
    as running statistics: to keep that too, compare `skipped` before and after.

    Args:
      inner: an optax optimizer, or any pair of `init(params)` and `update(grads, state, params)`.
      initial: the first scale.
      growth_interval: after how many consecutive finite steps the scale grows.
      factor: by how much it grows and shrinks. A power of two rounds nothing.
      minimum: the smallest scale. It never grows past the largest float32.

    Returns:
      An optimizer of the same type as `inner`, with a `LossScaleState`. Its gradients are those of
      the scaled loss. `inner` gets them unscaled, in the dtypes of the params if `update` gets
      params. A skipped step has updates of negative zero, which change no number.

    Raises:
      LossScaleError: `inner` is not an optimizer, or an option is out of range.
    """
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise LossScaleError(
            "dynamic_loss_scale takes an optax optimizer, such as optax.adam(1e-3), but got"
            f" {kind_of(inner)}."
        )
    _check_options(initial, growth_interval, factor, minimum)
    one = _DynamicLossScale(inner, initial, growth_interval, factor, minimum)
    if hasattr(inner, "_replace"):
        return inner._replace(init=one.init, update=one.update)
    return Optimizer(one.init, one.update)


def _check_options(initial: Any, growth_interval: Any, factor: Any, minimum: Any) -> None:
    least = _number(minimum)
    limits = (
        ("minimum", minimum, 0 < least < math.inf, "a number above 0"),
        ("initial", initial, least <= _number(initial) < math.inf, "a number from `minimum` on"),
        ("factor", factor, 1 < _number(factor) < math.inf, "a number above 1"),
        (
            "growth_interval",
            growth_interval,
            _number(growth_interval) >= 1 and _number(growth_interval) % 1 == 0,
            "a whole number from 1 on",
        ),
    )
    for name, value, fits, what in limits:
        if not fits:
            raise LossScaleError(
                f"dynamic_loss_scale: {name} must be {what}, but is {outline_argument(value)}."
            )


def _number(value: Any) -> float:
    """Returns a number as a float; NaN, which lies within no limits, for anything else."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):  # a traced one too
        return math.nan


class _DynamicLossScale:
    """`init` and `update`; pickled if the inner optimizer can be."""

    def __init__(
        self,
        inner: "Transformation",
        initial: float,
        growth_interval: int,
        factor: float,
        minimum: float,
    ):
        self._inner = inner
        self._initial = float(initial)
        self._growth_interval = int(growth_interval)
        self._factor = float(factor)
        self._minimum = float(minimum)

    def init(self, params: Any) -> LossScaleState:
        return LossScaleState(
            scale=jnp.array(self._initial, jnp.float32),
            finite_steps=jnp.zeros([], jnp.int32),
            skipped=jnp.zeros([], jnp.int32),
            inner_state=self._inner.init(params),
        )

    def update(
        self, grads: Any, state: LossScaleState, params: Any = None, **extra: Any
    ) -> tuple[Any, LossScaleState]:
        grads = _unscaled(grads, state.scale, grads if params is None else params)
        is_finite = _all_finite(grads)
        updates, inner_state = self._inner.update(grads, state.inner_state, params, **extra)

        # Both sides are computed, and one is chosen: a `cond` would not let XLA fuse them.
        def keep(new: Any, old: Any) -> Any:
            return jnp.where(is_finite, new, old)

        def keep_update(update: Any) -> Any:
            if update.dtype == jax.dtypes.float0:  # of an integer
                return update
            return keep(update, _no_update(update))

        scale, finite_steps = self._next(state, is_finite)
        return jax.tree.map(keep_update, updates), LossScaleState(
            scale=scale,
            finite_steps=finite_steps,
            skipped=state.skipped + jnp.where(is_finite, 0, 1).astype(jnp.int32),
            inner_state=jax.tree.map(keep, inner_state, state.inner_state),
        )

    def _next(self, state: LossScaleState, is_finite: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the next scale, and the next number of finite steps."""
        factor = jnp.float32(self._factor)
        steps = state.finite_steps + 1
        grows = steps >= self._growth_interval
        larger = state.scale * factor
        after_finite = jnp.where(grows & jnp.isfinite(larger), larger, state.scale)
        after_overflow = jnp.maximum(state.scale / factor, jnp.float32(self._minimum))
        return (
            jnp.where(is_finite, after_finite, after_overflow),
            jnp.where(is_finite & ~grows, steps, jnp.int32(0)),
        )


def _unscaled(grads: Any, scale: jax.Array, like: Any) -> Any:
    """Divides gradients by the scale, in at least float32; returns them in the dtypes of `like`."""

    def leaf(grad: Any, param: Any) -> Any:
        if grad is None or not jnp.issubdtype(jnp.result_type(grad), jnp.inexact):
            return grad  # a hole, or the gradient of an integer
        dtype = jnp.promote_types(jnp.result_type(grad), jnp.float32)
        divided = jnp.asarray(grad, dtype) / scale.astype(dtype)
        return divided.astype(jnp.result_type(grad if param is None else param))

    return jax.tree.map(leaf, grads, like, is_leaf=is_hole)


def _all_finite(grads: Any) -> jax.Array:
    found = [
        jnp.isfinite(grad).all()
        for grad in jax.tree.leaves(grads)
        if jnp.issubdtype(jnp.result_type(grad), jnp.inexact)
    ]
    return jnp.stack(found).all() if found else jnp.array(True)


def _no_update(update: Any) -> Any:
    """Returns -0, since adding +0 turns -0 into +0. One number fits any shape and sharding."""
    dtype = update.dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.array(complex(-0.0, -0.0), dtype)
    return jnp.array(-0.0 if jnp.issubdtype(dtype, jnp.floating) else 0, dtype)


def loss_scale(opt_state: Any) -> jax.Array:
    """Returns the factor by which the loss of the next step is to be multiplied.

    >>> import jax.numpy as jnp, optax, purestate as ps
    >>> tx = ps.mixed_precision.dynamic_loss_scale(optax.adam(0.1))
    >>> opt = ps.Optimizer(optax.chain(tx, optax.identity())).init({"linear": {"w": jnp.ones([2])}})
    >>> float(ps.mixed_precision.loss_scale(opt))
    32768.0

    Compute the loss itself in float32. In float16 the product overflows if the loss is 2 or more.

    Args:
      opt_state: the state of `dynamic_loss_scale`; or any pytree with one in it, such as the state
        of a chain, a `ps.Optimizer` or a `ps.TrainState`.

    Returns:
      The scale, `float32[]`.

    Raises:
      LossScaleError: it has no such state in it, or more than one.
    """

    def is_state(node: Any) -> bool:
        return isinstance(node, LossScaleState)

    found = [s for s in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(s)]
    if len(found) != 1:
        what = f"{len(found)} states" if found else "no state"
        raise LossScaleError(
            f"loss_scale found {what} of dynamic_loss_scale in {outline_argument(opt_state)}. It"
            " takes the state of one: wrap the whole optimizer, as in"
            " `tx = ps.mixed_precision.dynamic_loss_scale(optax.adam(1e-3))`, and pass"
            " `tx.init(params)`, or what `tx.update` returned."
        )
    return found[0].scale
