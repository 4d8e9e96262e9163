"""Looking into a run: sown values, outputs of modules, and perturbations to differentiate by."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import jax
import jax.numpy as jnp

from purestate._core import trace_guard
from purestate._core.collection import AllBut, Bundle
from purestate._core.creation import keep_new
from purestate._core.errors import ArgumentError, FrameError, ShapeMismatchError, kind_of
from purestate._core.frame import Frame, get_frame
from purestate._core.hooks import intercept_methods
from purestate._core.layout import ByCollection
from purestate._core.naming import path_here
from purestate._core.observer import Observer, observe
from purestate._core.outlines import outline_argument
from purestate._core.pairs import I, P, R, Transformed, TransformedWithState
from purestate._core.path import variable_path
from purestate._core.sown import INTERMEDIATES, PERTURBATIONS, Sown, plain_values
from purestate._core.variable_checks import check_arrays
from purestate._state.transform_with_collections import TransformedWithCollections

if TYPE_CHECKING:
    from purestate._core.pairs import Apply, ApplyWithState
    from purestate._state.multi_transform import ApplyWithoutRng, ApplyWithStateWithoutRng
    from purestate._state.transform_with_collections import ApplyCollections

    Found = tuple[R, Bundle]
    """The result of a function, and the intermediates."""


def sow(
    name: str,
    value: Any,
    collection: str = INTERMEDIATES,
    reduce: Callable[[Any, Any], Any] | None = None,
) -> bool:
    """Puts a value aside under the running module, if someone requested it.

    A caller requests values with `capture_intermediates`, or by listing the collection in the
    `mutable` of `transform_with_collections`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     h = ps.Linear(2)(x)
    ...     ps.sow("hidden", h)
    ...     return h.sum()
    >>> g = ps.transform_with_collections(f)
    >>> x = jnp.ones([1, 3])
    >>> variables = g.init(jax.random.key(0), x)
    >>> out, updated = g.apply(variables, None, x, mutable=["intermediates"])
    >>> jax.tree.map(jnp.shape, updated)
    {'intermediates': {'~': {'hidden': ((1, 2),)}}}

    Inside `ps.scan` and `ps.vmap` the values of all steps and elements are stacked along a new
    first axis. With `reduce` they stay stacked only as long as nothing else is sown under their
    name. A branch of `ps.cond` that is not taken sows nothing; without `reduce`, zeros.
    `ps.fori_loop` and `ps.while_loop` keep the value of the last step, or with `reduce` of all
    steps; zeros if no step runs.

    Args:
      name: the name within the module.
      value: an array, or a pytree of arrays.
      collection: the collection for it.
      reduce: `reduce(before, value)` joins several values of one name. It must be associative, like
        a sum or a maximum. By default they become a tuple.

    Returns:
      Whether anyone requested the value.

    Raises:
      FrameError: used outside a transformed function.
      VariableTypeError: `value` holds something that is not an array.
      JaxUsageError: used inside a plain JAX transform that `value` would not outlive.
    """
    frame = get_frame("`ps.sow`")
    if frame.sown is None or not frame.sown.wants(collection):
        return False
    path = path_here(frame, frame.scope)
    check_arrays(path, name, value, "The value sown as")
    what = f"`ps.sow({name!r})`"
    trace_guard.check_strictly(frame.home.trace, what, path)
    trace_guard.check_outlives_trace(value, frame.home.trace, what, path)
    frame.sown.add(collection, path, name, value, reduce)
    return True


def _outputs_to_sow(keep: Any) -> Any:
    """Returns an interceptor that sows the outputs of modules."""

    def interceptor(next_method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = next_method(*args, **kwargs)
        name = context.method_name
        wanted = name == "__call__" if keep is None or keep is True else keep(context.module, name)
        # The module of a lifted function returns variables, which are not an output of the model.
        is_layer = context.module._path is not None and not hasattr(context.module, "prefix_name")
        if wanted and is_layer and name != "__init__":
            sow(name, out)  # the interceptor runs in the method's own scope
        return out

    return interceptor


@overload
def capture_intermediates(
    f: "Transformed[I, Apply[P, R]]",
    filter: Any = None,
) -> "Transformed[I, Apply[P, Found[R]]]": ...
@overload
def capture_intermediates(
    f: "TransformedWithState[I, ApplyWithState[P, R]]",
    filter: Any = None,
) -> "TransformedWithState[I, ApplyWithState[P, Found[R]]]": ...
@overload
def capture_intermediates(
    f: "TransformedWithCollections[I, ApplyCollections[P, R]]",
    filter: Any = None,
) -> "TransformedWithCollections[I, ApplyCollections[P, Found[R]]]": ...
@overload
def capture_intermediates(
    f: "Transformed[I, ApplyWithoutRng[P, R]]",
    filter: Any = None,
) -> "Transformed[I, ApplyWithoutRng[P, Found[R]]]": ...
@overload
def capture_intermediates(
    f: "TransformedWithState[I, ApplyWithStateWithoutRng[P, R]]",
    filter: Any = None,
) -> "TransformedWithState[I, ApplyWithStateWithoutRng[P, Found[R]]]": ...
@overload
def capture_intermediates(
    f: "Callable[P, R]",
    filter: Any = None,
) -> "Callable[P, Found[R]]": ...
def capture_intermediates(f: Any, filter: Any = None) -> Any:  # noqa: A002
    """Returns `f` with the outputs of its modules, and all sown values, as a second result.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> out, found = ps.capture_intermediates(f).apply(params, None, x)
    >>> jax.tree.map(jnp.shape, found["mlp/~/linear_0"])
    {'__call__': ((1, 4),)}

    Args:
      f: a transformed pair; or a function that runs inside a transformed one.
      filter: `filter(module, method_name)` says which outputs to keep; by default those of
        `__call__` of every module. False keeps only sown values.

    Returns:
      The same, but `apply`, or the function, returns `(out, intermediates)` instead of `out`.
      Intermediates are `{module: {name: (value, ...)}}`, with one value for each call.

    Raises:
      ArgumentError: `f` is neither.
    """
    if isinstance(f, (Transformed, TransformedWithState, TransformedWithCollections)):
        return f._replace(apply=_capture_apply(f, filter))
    if not callable(f):
        raise ArgumentError(
            "`ps.capture_intermediates` takes a function, or what a transform returned, but got"
            f" {kind_of(f)}."
        )

    @functools.wraps(f)
    def captured(*args: Any, **kwargs: Any) -> tuple[Any, Bundle]:
        frame = get_frame("A function made by `ps.capture_intermediates`")
        outer = frame.sown
        if frame.running_init:
            return _run(f, filter, args, kwargs), {}
        # Values sown into other collections still reach those who requested them.
        frame.sown = mine = Sown(_with_name(() if outer is None else outer.names, INTERMEDIATES))
        try:
            out = _run(f, filter, args, kwargs)
        finally:
            frame.sown = outer
        found = plain_values(mine.values).get(INTERMEDIATES, {})
        mine.values.pop(INTERMEDIATES, None)
        if outer is not None:
            outer.reducers.update(mine.reducers)
            outer.join(mine.values)
        return out, found

    return captured


def _with_name(names: AllBut | tuple[str, ...], name: str) -> AllBut | tuple[str, ...]:
    if isinstance(names, AllBut):
        return AllBut(*(other for other in names.names if other != name))
    return (*names, name)


def _run(f: Callable[..., Any], keep: Any, args: Any, kwargs: Any) -> Any:
    if keep is False:
        return f(*args, **kwargs)
    with intercept_methods(_outputs_to_sow(keep)):
        return f(*args, **kwargs)


def _capture_apply(pair: Any, keep: Any) -> Callable[..., Any]:
    @functools.wraps(pair.apply)
    def apply(*args: Any, **kwargs: Any) -> Any:
        capture = Capture((INTERMEDIATES,))
        with observe(capture):
            result = _run(pair.apply, keep, args, kwargs)
        frame = capture.frame
        if frame is None or frame.home.trace != trace_guard.current_trace_state():
            raise FrameError(
                "`ps.capture_intermediates` was given a compiled `apply`, which does not return"
                " intermediate values. Compile the function that it returns instead:"
                " `jax.jit(ps.capture_intermediates(f).apply)`."
            )
        sown = {} if frame.sown is None else frame.sown.values
        values = plain_values(sown).get(INTERMEDIATES, {})
        # With a state, or something mutable, the function's own result is the first of a pair.
        layout = frame.layout
        returns_pair = isinstance(layout, ByCollection) and layout.mutable != ()
        if isinstance(pair, TransformedWithState) or returns_pair:
            return (result[0], values), result[1]
        return result, values

    return apply


class Capture(Observer):
    """Makes the next frame keep the values sown into some collections.

    Args:
      names: of the collections.
      perturbed: whether perturbations are looked up.
      under: what the names of the frame's modules begin with in the frame around it.

    Attributes:
      frame: that frame, once it has begun.
    """

    def __init__(
        self, names: AllBut | tuple[str, ...], *, perturbed: bool = False, under: str = ""
    ):
        self._names = names
        self._under = under
        self._perturbed = perturbed
        self.frame: Frame | None = None

    def began(self, frame: Frame) -> None:
        """Takes the first frame; those within it have variables of their own."""
        if self.frame is not None:
            return
        self.frame = frame
        frame.under = self._under
        frame.perturbed = frame.perturbed or self._perturbed
        if self._names == () or frame.running_init:
            return
        names = self._names
        if frame.sown is not None and not isinstance(names, AllBut):
            for name in names:
                frame.sown.names = _with_name(frame.sown.names, name)
        else:
            frame.sown = Sown(names)


def perturb(name: str, x: Any, collection: str = PERTURBATIONS) -> jax.Array:
    """Adds a perturbation to `x`, if one is given: its gradient is the gradient of `x`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_collections(lambda x: (ps.perturb("h", 3 * x) ** 2).sum())
    >>> x = jnp.array([1.0, 2.0])
    >>> variables = f.init(None, x)
    >>> def loss(perturbations):
    ...     return f.apply({**variables, "perturbations": perturbations}, None, x)
    >>> jax.grad(loss)(variables["perturbations"])["~"]["h"].tolist()
    [6.0, 12.0]

    `init` of `transform_with_collections` creates zeros of its shape. If `apply` is not given a
    perturbation, and under the other transforms, the result is `x` itself.

    Args:
      name: the name of the perturbation within the running module.
      x: an array.
      collection: the collection of the perturbation.

    Returns:
      `x`, or the sum of `x` and the perturbation.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.perturb`")
    if not frame.perturbed:
        return x
    path = path_here(frame, frame.scope)
    kept = frame.layout.store(frame, collection, path, name)
    found = kept.values.get(path, {}).get(name)
    if found is None and frame.running_init:
        found = jnp.zeros(jnp.shape(x), jnp.result_type(x))
        keep_new(frame, kept, path, name, found, f"`ps.perturb({name!r})`")
    if found is None:
        return x
    for observer in frame.observers:
        found = observer.read(frame, collection, path, name, found)
    needed, given = (
        jax.ShapeDtypeStruct(jnp.shape(value), jnp.result_type(value)) for value in (x, found)
    )
    if given != needed:
        raise ShapeMismatchError(
            f"The perturbation {variable_path(path, name)!r} is {outline_argument(given)}, but is"
            f" added to a value that is {outline_argument(needed)}. Pass a perturbation of that"
            " shape and dtype. `init` returns one for the same inputs."
        )
    return x + found
