"""`layer_stack`: many layers with the same code, as one loop over stacked parameters."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import jax
import jax.numpy as jnp

from purestate._core.collection import Bundle
from purestate._core.errors import LoopError
from purestate._core.frame import Frame, get_frame
from purestate._core.observer import observe
from purestate._core.rng import key_for_layers, keys_of_layers
from purestate._core.sown import SownValues, stacked
from purestate._core.transform import transform_with_state
from purestate._lifted.layer_names import (
    LayerNames,
    LayerStackTransparencyMapping,
    label_layers,
    split_layers,
    stack_layers,
)
from purestate._lifted.lift import lift_with_state, transparent_lift_with_state
from purestate._lifted.snapshot import new_values
from purestate._state.intermediates import Capture

_HAIKU_COLLECTIONS = ("state", "batch_stats")
"""Where the state of dm-haiku's layers is, and that of modules that name no collection."""

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class Stacked(Protocol[P, R_co]):
        # Python cannot say that `reverse` comes between the arguments of P, so a call with it has
        # unchecked arguments.
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        @overload
        def __call__(self, *args: Any, reverse: bool, **kwargs: Any) -> R_co: ...

    class Stacker(Protocol):
        def __call__(self, f: Callable[P, R], /) -> Stacked[P, R]: ...


class _Options(NamedTuple):
    """The arguments of `layer_stack` that each call needs.

    Attributes:
      num_layers: how many layers.
      unroll: how many of them are in one turn of the loop.
      mapping: names of single layers, if variables are kept layer by layer; else None.
      name: what variables are kept under, if they are kept stacked.
      is_haiku: whether this is a call that dm-haiku has too, so that `init` returns what it does.
    """

    num_layers: int
    unroll: int
    mapping: LayerStackTransparencyMapping | None
    name: str
    is_haiku: bool


class _Layer(NamedTuple):
    """What one turn of the loop is given."""

    params: Bundle
    rng: Any
    state: Bundle
    per_layer: Any


def layer_stack(
    num_layers: int,
    with_per_layer_inputs: bool = False,
    unroll: int = 1,
    pass_reverse_to_layer_fn: bool = False,
    transparent: bool = False,
    transparency_map: LayerStackTransparencyMapping | None = None,
    name: str | None = None,
    *,
    layers: str | None = None,
) -> "Stacker":
    """Calls a function `num_layers` times, each time with parameters, state and keys of its own.

    Traced and compiled once, as a `jax.lax.scan` over parameters that are stacked along a new first
    axis.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.layer_stack(4)(lambda x: jnp.tanh(ps.Linear(3)(x)))(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'__layer_stack_no_per_layer/linear': {'b': (4, 3), 'w': (4, 3, 3)}}

    Args:
      num_layers: how many layers.
      with_per_layer_inputs: whether the function takes inputs `[num_layers, ...]`, a slice for each
        layer, after the first argument, and returns `(x, y)`, the ys of all layers being stacked.
      unroll: how many layers to put into one turn of the loop.
      pass_reverse_to_layer_fn: whether the function is told `reverse`.
      transparent: whether the parameters are kept layer by layer, under the names that
        `transparency_map` tells, and not stacked.
      transparency_map: see `LayerStackTransparencyMapping`; needed for `transparent`.
      name: what to keep the parameters under.
      layers: keeps the variables layer by layer, as a loop over modules of these names would:
        "block_{}" stands for block_0, block_1, ... The function has to make everything in one
        module called "block".

    Returns:
      A decorator. The function that comes out takes the same arguments, and returns what the last
      layer returned: `f(*xs) -> xs`, or `f(x, *per_layer) -> (x, ys)`. Arguments that are no arrays
      (bools, strings, None) and keyword arguments are the same for all layers; `reverse=True` goes
      through the layers from last to first.

    Raises:
      FrameError: called outside a transformed function.
      LoopError: the options do not fit, or a per-layer input has another length.
    """
    if num_layers < 0:
        raise LoopError(f"layer_stack runs num_layers layers, 0 or more; got {num_layers}.")
    if layers is not None:
        if transparency_map is not None:
            raise LoopError(
                "layer_stack takes `layers` or a transparency_map, which say the same thing in two"
                " ways."
            )
        transparency_map, transparent = LayerNames(layers), True
    if transparent and transparency_map is None:
        raise LoopError(
            "layer_stack(transparent=True) needs a transparency_map, which tells the name of each"
            " layer."
        )
    mapping = transparency_map if transparent or transparency_map is not None else None
    default = (
        "__layer_stack_with_per_layer" if with_per_layer_inputs else "__layer_stack_no_per_layer"
    )
    options = _Options(num_layers, unroll, mapping, name or default, is_haiku=layers is None)
    stack = functools.partial(_run_stack, options)

    def decorate(f: Callable[..., Any]) -> Callable[..., Any]:
        if with_per_layer_inputs:

            @functools.wraps(f)
            def wrapped(x: Any, *per_layer: Any, reverse: bool = False, **kwargs: Any) -> Any:
                _check_lengths(per_layer, num_layers)
                told = {"reverse": reverse} if pass_reverse_to_layer_fn else {}
                return stack(f, x, per_layer, reverse, kwargs, told)

            return wrapped

        _check_no_varargs(f)

        @functools.wraps(f)
        def wrapped_plain(*args: Any, reverse: bool = False, **kwargs: Any) -> Any:
            # A layer of several arguments returns as many. One that has one returns it bare.
            def layer(xs: Any, **kwargs: Any) -> Any:
                out = f(*xs, **kwargs)
                return ((out,) if len(args) == 1 else tuple(out)), None

            told = {"reverse": reverse} if pass_reverse_to_layer_fn else {}
            out = stack(layer, args, (), reverse, kwargs, told)[0]
            return out[0] if len(args) == 1 else out

        return wrapped_plain

    return decorate


def _check_no_varargs(f: Callable[..., Any]) -> None:
    parameters = list(inspect.signature(f).parameters.values())
    if parameters and parameters[0].kind == inspect.Parameter.VAR_POSITIONAL:
        raise LoopError(
            "layer_stack needs to know the arguments of the layer, so it cannot be f(*args): name"
            " them, as in f(x, mask)."
        )


def _check_lengths(per_layer: Any, num_layers: int) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(per_layer):
        if jnp.ndim(leaf) == 0 or leaf.shape[0] != num_layers:
            raise LoopError(
                f"layer_stack of {num_layers} layers needs per-layer inputs of shape [{num_layers},"
                f" ...], but input {jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}."
            )


def _is_static(leaf: Any) -> bool:
    """Whether a leaf is a Python value to keep out of the loop, and not an array."""
    return isinstance(leaf, (bool, str, bytes)) or not (
        hasattr(leaf, "dtype") or isinstance(leaf, (int, float, complex))
    )


def _split_static(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Returns the arrays of a tree, and what puts arrays in their places again."""
    # `jax.lax.scan` carries arrays only. A bool or None among the arguments is the same for all
    # layers, and stays out of the loop.
    leaves, treedef = jax.tree.flatten(tree)
    static = [_is_static(leaf) for leaf in leaves]

    def put_together(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        return treedef.unflatten(
            [leaf if fixed else next(rest) for leaf, fixed in zip(leaves, static, strict=True)]
        )

    return [leaf for leaf, fixed in zip(leaves, static, strict=True) if not fixed], put_together


def _run_stack(
    options: _Options,
    f: Callable[..., Any],
    x: Any,
    per_layer: Any,
    reverse: bool,
    kwargs: dict[str, Any],
    told: dict[str, Any],
) -> tuple[Any, Any]:
    """Runs the layers `f(x, *per_layer) -> (x, y)`; in `init` makes their variables first."""
    frame = get_frame("A function made by `ps.layer_stack`")
    arrays, put_together = _split_static(x)

    def layer(arrays: list[Any], *per_layer: Any, **told: Any) -> Any:
        x, y = f(put_together(arrays), *per_layer, **kwargs, **told)
        return _split_static(x)[0], y

    stack = _Stack(frame, options, layer)
    variables, updater = stack.lift(per_layer)
    try:
        # 1. The variables of all layers, stacked. `init` makes them here.
        params, state = variables(arrays, key_for_layers(f"{updater.prefix}{options.name}"))
        stack.forget_labels()
        params, state = stack.stacked(params), stack.stacked(state)

        # 2. One turn of the loop for each layer.
        turn = stack.turn("" if options.mapping is not None else updater.prefix, told)
        given = _Layer(params, keys_of_layers(options.num_layers), state, per_layer)
        arrays, (ys, state, sown) = jax.lax.scan(
            turn, arrays, given, length=options.num_layers, unroll=options.unroll, reverse=reverse
        )
    except BaseException:
        updater.ignore_update()
        raise

    # 3. What the layers have written, in the frame around them.
    updater.update(stack.layer_by_layer(state))
    if frame.sown is not None:
        frame.sown.join(stacked(sown))
    return put_together(arrays), ys


# Each layer has a frame of its own, so that its variables have the same names in all layers. In the
# frame around them, as in `ps.scan`, each call would first look which variables have an axis, and a
# trace would take more than twice as many calls.
class _Stack:
    """The layers of one call of a stack.

    Args:
      frame: the frame around the layers. Each layer has a frame of its own within it.
      options: see `_Options`.
      layer: `layer(arrays, *per_layer, **told) -> (arrays, y)`.
    """

    def __init__(self, frame: Frame, options: _Options, layer: Callable[..., Any]):
        self._frame = frame
        self._options = options
        self._pair = transform_with_state(layer, rng_mode=frame.keys.mode)
        self.forget_labels()

    def forget_labels(self) -> None:
        """From here on, the layers say again which collections their variables belong to."""
        self._labels_from = len(self._frame.ledger.inner_labels)

    def lift(self, per_layer: Any) -> tuple[Callable[..., Any], Any]:
        """Returns `variables(arrays, rng) -> (params, state)`, and what writes state back."""
        initial = functools.partial(self._init, per_layer)
        if self._options.mapping is not None:
            return transparent_lift_with_state(initial, allow_reuse=True)
        return lift_with_state(initial, allow_reuse=True, name=self._options.name)

    def _init(self, per_layer: Any, arrays: list[Any], rng: Any) -> tuple[Bundle, Bundle]:
        """Makes the variables of all layers, each of which is given what the one before returns."""
        frame, (init, apply) = self._frame, self._pair
        named = self._options.mapping is None
        under = f"{frame.scope.module.prefix_name}/" if named else ""

        def init_layer(carry: Any, per_layer: Any) -> Any:
            arrays, rng = carry
            # The keys that dm-haiku uses, and its order: init of a layer, and then its apply, which
            # makes the input of the next layer.
            rng, next_rng, apply_rng = _split_three(rng)
            with observe(Capture((), perturbed=frame.perturbed, under=under)):
                params, state = init(rng, arrays, *per_layer)
            with observe(Capture((), perturbed=frame.perturbed, under=under)):
                (arrays, _), after = apply(params, state, apply_rng, arrays, *per_layer)
            return (arrays, next_rng), (params, state, after)

        _, (params, state, after) = jax.lax.scan(
            init_layer, (arrays, rng), per_layer, length=self._options.num_layers
        )
        if self._options.is_haiku and not frame.layout.by_collection:
            labels = frame.ledger.inner_labels[self._labels_from :]
            state = _as_in_haiku(state, after, labels)
        # The state is labelled layer by layer before it is there layer by layer.
        state = self.layer_by_layer(state)
        return self._split(params), state

    def turn(self, prefix: str, told: dict[str, Any]) -> Callable[..., Any]:
        """Returns `turn(arrays, layer) -> (arrays, (y, written, sown))`, the body of the loop.

        Args:
          prefix: what the frame around the layers puts before their names.
          told: keyword arguments for the layer.
        """
        frame, apply = self._frame, self._pair.apply

        def run_layer(arrays: list[Any], given: _Layer) -> Any:
            names = () if frame.sown is None else frame.sown.names
            capture = Capture(names, perturbed=frame.perturbed, under=prefix)
            with observe(capture):
                (arrays, y), state = apply(
                    given.params, given.state, given.rng, arrays, *given.per_layer, **told
                )
            # What a layer does not set stays out of the loop: it need not be mutable.
            written = new_values({"": given.state}, {"": state}).get("", {})
            return arrays, (y, written, _sown_by(frame, capture.frame, prefix))

        return run_layer

    def stacked(self, layers: Bundle) -> Bundle:
        """Returns the variables of all layers, stacked along the first axis."""
        mapping = self._options.mapping
        return (
            layers if mapping is None else stack_layers(layers, self._options.num_layers, mapping)
        )

    def layer_by_layer(self, state: Bundle) -> Bundle:
        """Returns state as the frame keeps it, and has the frame know its collections."""
        mapping = self._options.mapping
        if mapping is not None:
            label_layers(self._frame, self._options.num_layers, mapping, self._labels_from)
        return self._split(state)

    def _split(self, stacked: Bundle) -> Bundle:
        mapping = self._options.mapping
        return (
            stacked if mapping is None else split_layers(stacked, self._options.num_layers, mapping)
        )


def _as_in_haiku(state: Bundle, after: Bundle, labels: list[dict[Any, str]]) -> Bundle:
    """Returns the state that `init` returns: initial values, or what dm-haiku returns.

    dm-haiku returns the state after one run of the layers. Variables of collections that it does
    not have, such as a "cache", keep their initial values.
    """
    collections = {variable: label for each in labels for variable, label in each.items()}

    def is_known(module: str, name: str) -> bool:
        return collections.get((module, name), "state") in _HAIKU_COLLECTIONS

    return {
        module: {
            name: after[module][name] if is_known(module, name) else value
            for name, value in bundle.items()
        }
        for module, bundle in state.items()
    }


def _split_three(rng: Any) -> tuple[Any, Any, Any]:
    """Splits a key, or each key of a dict of streams, into three."""
    keys = jax.tree.map(lambda key: jax.random.split(key, 3), rng)
    first, second, third = (jax.tree.map(lambda key, i=i: key[i], keys) for i in range(3))
    return first, second, third


def _sown_by(frame: Frame, inner: Frame | None, prefix: str) -> SownValues:
    """Returns what was sown in the frame of a layer, under the names of the frame around it."""
    if inner is None or inner.sown is None or frame.sown is None:
        return {}
    # How values are reduced is a fact of the inner frame. The outer one combines what comes out.
    for (collection, path, name), reduce in inner.sown.reducers.items():
        frame.sown.reducers[collection, prefix + path, name] = reduce
    return {
        collection: {prefix + path: bundle for path, bundle in modules.items()}
        for collection, modules in inner.sown.values.items()
    }
