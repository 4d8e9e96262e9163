"""Looking into a run: values sown on the way, outputs of modules, and perturbations to differentiate by."""

import contextlib
import functools
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.collection import AllBut, Bundle, Collection
from purestate._core.errors import ArgumentError, kind_of
from purestate._core.frame import Frame, collection_for, get_frame, watching
from purestate._core.hooks import intercept_methods
from purestate._core.naming import path_here
from purestate._core.transform import Transformed, TransformedWithState
from purestate._core.variable_checks import check_arrays
from purestate._core.variables import keep_new
from purestate._state.transform_with_collections import TransformedWithCollections

INTERMEDIATES = "intermediates"
PERTURBATIONS = "perturbations"


def captured(frame: Frame) -> AllBut | tuple[str, ...]:
    """Returns the names of the collections that what is sown into is asked for."""
    if frame.running_init:
        return ()
    if frame.mutable is None:
        return frame.captures
    return (
        frame.mutable
        if isinstance(frame.mutable, AllBut)
        else (*frame.mutable, *tuple(frame.captures))
    )


def _sown_collection(frame: Frame, name: str) -> Collection | None:
    """Returns the collection to sow into; None where nobody asks."""
    if name in ("params", "state") or name not in captured(frame):
        return None
    return frame.collections.setdefault(name, _new_collection(name))


def sow(
    name: str,
    value: Any,
    collection: str = INTERMEDIATES,
    reduce: Callable[[Any, Any], Any] | None = None,
) -> bool:
    """Puts a value aside under the module that is running, where someone asks for it; else does nothing.

    Someone asks with `capture_intermediates`, or with the collection among the `mutable` of
    `transform_with_collections`.

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

    Inside `ps.scan` and `ps.vmap` the values of all steps and rows are stacked, along a new first
    axis. In a branch of `ps.cond` that is not taken they are zeros.

    Args:
      name: what to call it within the module.
      value: an array, or a pytree of arrays.
      collection: where to put it.
      reduce: `reduce(before, value)`, where several values get one name; by default they become a
        tuple.

    Returns:
      Whether anyone asked.

    Raises:
      FrameError: used outside a transformed function.
      VariableTypeError: `value` holds something that is no array.
      JaxUsageError: used inside a plain JAX transform that `value` would not outlive.
    """
    frame = get_frame("`ps.sow`")
    kept = _sown_collection(frame, collection)
    if kept is None:
        return False
    path = path_here(frame, frame.scope)
    check_arrays(path, name, value, "What is sown as")
    before = kept.values.get(path, {})
    if reduce is None:
        value = (*before.get(name, ()), value)
    elif name in before:
        value = reduce(before[name], value)
    frame.reducers[collection, path, name] = reduce
    keep_new(frame, kept, path, name, value, f"`ps.sow({name!r})`")
    return True


def join_sown(frame: Frame, collection: str, path: str, name: str, before: Any, new: Any) -> Any:
    """Joins what was sown before a loop or map with what was sown inside."""
    reduce = frame.reducers.get((collection, path, name))
    return (*before, *new) if reduce is None else reduce(before, new)


def _outputs_to_sow(keep: Any) -> Any:
    """Returns the interceptor that sows what modules return."""

    def interceptor(next_method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = next_method(*args, **kwargs)
        name = context.method_name
        wanted = name == "__call__" if keep is None or keep is True else keep(context.module, name)
        # What stands for a lifted function returns its variables, which are no output of the model.
        is_layer = context.module._path is not None and not hasattr(context.module, "prefix_name")
        if wanted and is_layer and name != "__init__":
            sow(name, out)  # the interceptor runs in the method's own scope
        return out

    return interceptor


def capture_intermediates(f: Any, filter: Any = None) -> Any:  # noqa: A002
    """Returns `f` with what its modules returned, and what was sown, as a second result.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> out, found = ps.capture_intermediates(f).apply(params, None, x)
    >>> jax.tree.map(jnp.shape, found["mlp/~/linear_0"])
    {'__call__': ((1, 4),)}

    Args:
      f: what one of the transforms returned; or, inside a transformed function or before it is one,
        a function.
      filter: `filter(module, method_name)` says whose results to keep; by default those of
        `__call__` of every module. False keeps what is sown alone.

    Returns:
      The same, but that `apply`, or the function, returns `(out, intermediates)` where it returned
      `out`. Intermediates are `{module: {name: (value, ...)}}`, with one value for each time.

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
        outer, captures = frame.collections.get(INTERMEDIATES), frame.captures
        mine = frame.collections[INTERMEDIATES] = _new_collection(INTERMEDIATES)
        frame.captures = (INTERMEDIATES,)
        try:
            out = _run(f, filter, args, kwargs)
        finally:
            frame.captures = captures
            if outer is None:
                del frame.collections[INTERMEDIATES]
            else:
                frame.collections[INTERMEDIATES] = outer
        return out, mine.values

    return captured


def _new_collection(name: str) -> Collection:
    return Collection(name, {}, {}, creatable=True, writable=True)


def _run(f: Callable[..., Any], keep: Any, args: Any, kwargs: Any) -> Any:
    if keep is False:
        return f(*args, **kwargs)
    with intercept_methods(_outputs_to_sow(keep)):
        return f(*args, **kwargs)


def _capture_apply(pair: Any, keep: Any) -> Callable[..., Any]:
    @functools.wraps(pair.apply)
    def apply(*args: Any, **kwargs: Any) -> Any:
        with capturing((INTERMEDIATES,)) as frames:
            result = _run(pair.apply, keep, args, kwargs)
        found = frames[0].collections.get(INTERMEDIATES) if frames else None
        values = {} if found is None else found.values
        # With something mutable, or a state, the result is a pair of which the first is what the
        # function returned.
        if isinstance(pair, TransformedWithState) or (frames and frames[0].mutable):
            return (result[0], values), result[1]
        return result, values

    return apply


@contextlib.contextmanager
def capturing(
    names: AllBut | tuple[str, ...], *, perturbed: bool = False
) -> Generator[list[Frame]]:
    """Has the next frame keep what is sown into these collections; yields a list that the frame will be in.

    With `perturbed` it also has perturbations, as variables in its state.
    """
    frames: list[Frame] = []
    outer = watching.get()

    def watch(frame: Frame) -> None:
        if outer is not None:
            outer(frame)
        if not frames:  # those within it have variables of their own
            frames.append(frame)
            frame.captures = names
            frame.perturbed = perturbed

    token = watching.set(watch)
    try:
        yield frames
    finally:
        watching.reset(token)


def has_perturbations(frame: Frame) -> bool:
    """Whether `perturb` makes and reads variables."""
    return frame.mutable is not None or frame.perturbed


def perturb(name: str, x: Any, collection: str = PERTURBATIONS) -> jax.Array:
    """Returns `x` with a perturbation added, where one is given: its gradient is that of `x`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_collections(lambda x: (ps.perturb("h", 3 * x) ** 2).sum())
    >>> x = jnp.array([1.0, 2.0])
    >>> variables = f.init(None, x)
    >>> def loss(perturbations):
    ...     return f.apply({**variables, "perturbations": perturbations}, None, x)
    >>> jax.grad(loss)(variables["perturbations"])["~"]["h"].tolist()
    [6.0, 12.0]

    `init` of `transform_with_collections` makes zeros of its shape. Where `apply` is given none,
    and under the other transforms, it is `x` itself.

    Args:
      name: what to call the perturbation within the module that is running.
      x: an array.
      collection: where the perturbation is.

    Returns:
      `x`, or `x` and the perturbation.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.perturb`")
    if not has_perturbations(frame):
        return x
    path = path_here(frame, frame.scope)
    kept = collection_for(frame, collection, path, name)
    if frame.running_init and name not in kept.values.get(path, {}):
        keep_new(
            frame,
            kept,
            path,
            name,
            jnp.zeros(jnp.shape(x), jnp.result_type(x)),
            f"`ps.perturb({name!r})`",
        )
    found = kept.values.get(path, {}).get(name)
    if found is not None and frame.recorder is not None:
        found = frame.recorder.note(frame, collection, path, name, found)
    return x if found is None else x + found
