"""`layer_stack`: many layers with the same code, as one loop over stacked parameters."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import jax
import jax.numpy as jnp

from purestate._core.collection import Bundle
from purestate._core.errors import LoopError
from purestate._core.frame import Frame, get_frame
from purestate._core.observer import observe
from purestate._core.path import is_inside
from purestate._core.rng import key_for_layers, keys_of_layers
from purestate._core.sown import SownValues, stacked
from purestate._core.transform import transform_with_state
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


class LayerStackTransparencyMapping(Protocol):
    """How the names of stacked modules and those of the single layers belong together."""

    def stacked_to_flat(self, stacked_module_name: str, scan_idx: int) -> str:
        """Returns the name of layer `scan_idx` of a stacked module."""
        ...

    def flat_to_stacked(self, unstacked_module_name: str) -> tuple[str, int] | None:
        """Returns the stacked module and index of a layer; None for a module that is no layer."""
        ...


class _LayerNames:
    """Names layers by a pattern: "block/linear" of layer 2 is "block_2/linear"."""

    def __init__(self, pattern: str):
        if pattern.count("{}") != 1 or not pattern.removesuffix("_{}").isidentifier():
            raise LoopError(
                f"layer_stack(layers={pattern!r}): a pattern has to be a name that ends in _{{}},"
                " as 'block_{}' does."
            )
        self._pattern = pattern
        self._module = pattern.removesuffix("_{}")
        self._flat = re.compile(re.escape(self._module) + r"_(0|[1-9][0-9]*)(/.*)?")

    def stacked_to_flat(self, stacked_module_name: str, scan_idx: int) -> str:
        if not is_inside(stacked_module_name, self._module):
            raise LoopError(
                f"layer_stack(layers={self._pattern!r}) needs a layer to make everything in one"
                f" module called {self._module!r}, but it makes {stacked_module_name!r}. Put it"
                f" into a module, `Block(name={self._module!r})(x)`, or write `with"
                " ps.name_scope(...)`."
            )
        return self._pattern.format(scan_idx) + stacked_module_name[len(self._module) :]

    def flat_to_stacked(self, unstacked_module_name: str) -> tuple[str, int] | None:
        found = self._flat.fullmatch(unstacked_module_name)
        return None if found is None else (self._module + (found[2] or ""), int(found[1]))


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
        transparency_map, transparent = _LayerNames(layers), True
    if transparent and transparency_map is None:
        raise LoopError(
            "layer_stack(transparent=True) needs a transparency_map, which tells the name of each"
            " layer."
        )
    mapping = transparency_map if transparent or transparency_map is not None else None
    default = (
        "__layer_stack_with_per_layer" if with_per_layer_inputs else "__layer_stack_no_per_layer"
    )
    is_haiku = layers is None
    stack = functools.partial(_run_stack, num_layers, unroll, mapping, name or default, is_haiku)

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
    leaves, treedef = jax.tree.flatten(tree)
    static = [_is_static(leaf) for leaf in leaves]

    def put_together(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        return treedef.unflatten(
            [leaf if fixed else next(rest) for leaf, fixed in zip(leaves, static, strict=True)]
        )

    return [leaf for leaf, fixed in zip(leaves, static, strict=True) if not fixed], put_together


def _run_stack(
    count: int,
    unroll: int,
    mapping: LayerStackTransparencyMapping | None,
    name: str,
    is_haiku: bool,
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

    init, apply = transform_with_state(layer, rng_mode=frame.keys.mode)
    inner_labels = frame.ledger.inner_labels

    def init_stack(arrays: list[Any], rng: Any) -> tuple[Bundle, Bundle]:
        def init_layer(carry: Any, per_layer: Any) -> Any:
            arrays, rng = carry
            rng, next_rng, apply_rng = _split_three(rng)
            with observe(Capture((), perturbed=frame.perturbed)):
                params, state = init(rng, arrays, *per_layer)
            with observe(Capture((), perturbed=frame.perturbed)):
                (arrays, _), after = apply(params, state, apply_rng, arrays, *per_layer)
            return (arrays, next_rng), (params, state, after)

        carry = (arrays, rng)
        _, (params, state, after) = jax.lax.scan(init_layer, carry, per_layer, length=count)
        if is_haiku and not frame.layout.by_collection:
            state = _as_in_haiku(state, after, inner_labels[labels_before:])
        if mapping is not None:
            _label_layers(frame, count, mapping, labels_before)
            return _split_layers(params, count, mapping), _split_layers(state, count, mapping)
        return params, state

    if mapping is not None:
        variables, updater = transparent_lift_with_state(init_stack, allow_reuse=True)
    else:
        variables, updater = lift_with_state(init_stack, allow_reuse=True, name=name)
    labels_before = len(inner_labels)
    try:
        params, state = variables(arrays, key_for_layers(f"{updater.prefix}{name}"))
        labels_before = len(inner_labels)
        rngs = keys_of_layers(count)
        if mapping is not None:
            params, state = (
                _stack_layers(params, count, mapping),
                _stack_layers(state, count, mapping),
            )

        prefix = "" if mapping is not None else updater.prefix

        def run_layer(arrays: list[Any], given: _Layer) -> Any:
            names = () if frame.sown is None else frame.sown.names
            capture = Capture(names, perturbed=frame.perturbed)
            with observe(capture):
                (arrays, y), state = apply(
                    given.params, given.state, given.rng, arrays, *given.per_layer, **told
                )
            # What a layer does not set stays out of the loop: it need not be mutable.
            written = new_values({"": given.state}, {"": state}).get("", {})
            return arrays, (y, written, _sown_by(frame, capture.frame, prefix))

        given = _Layer(params, rngs, state, per_layer)
        arrays, (ys, state, sown) = jax.lax.scan(
            run_layer, arrays, given, length=count, unroll=unroll, reverse=reverse
        )
    except BaseException:
        updater.ignore_update()
        raise
    if mapping is not None:
        _label_layers(frame, count, mapping, labels_before)
    updater.update(state if mapping is None else _split_layers(state, count, mapping))
    if frame.sown is not None:
        frame.sown.join(stacked(sown))
    return put_together(arrays), ys


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


def _label_layers(
    frame: Frame, count: int, mapping: LayerStackTransparencyMapping, start: int
) -> None:
    """Has the variables of each layer belong to the collections that the layer function said."""
    frame.ledger.inner_labels.append(
        {
            (mapping.stacked_to_flat(module, index), name): collection
            for labels in frame.ledger.inner_labels[start:]
            for (module, name), collection in labels.items()
            for index in range(count)
        }
    )


def _sown_by(frame: Frame, inner: Frame | None, prefix: str) -> SownValues:
    """Returns what was sown in the frame of a layer, under the names of the frame around it."""
    if inner is None or inner.sown is None or frame.sown is None:
        return {}
    for (collection, path, name), reduce in inner.sown.reducers.items():
        frame.sown.reducers[collection, prefix + path, name] = reduce
    return {
        collection: {prefix + path: bundle for path, bundle in modules.items()}
        for collection, modules in inner.sown.values.items()
    }


def _split_layers(stacked: Bundle, count: int, mapping: LayerStackTransparencyMapping) -> Bundle:
    layers: Bundle = {}
    for module, variables in stacked.items():
        for index in range(count):
            name = mapping.stacked_to_flat(module, index)
            if name in layers:
                raise LoopError(
                    f"The transparency_map gives two layers the name {name!r}; the second is"
                    f" {module!r}, {index}."
                )
            layers[name] = jax.tree.map(lambda leaf, index=index: leaf[index], variables)
    return layers


def _stack_layers(layers: Bundle, count: int, mapping: LayerStackTransparencyMapping) -> Bundle:
    trees: list[Bundle] = [{} for _ in range(count)]
    for module, variables in layers.items():
        found = mapping.flat_to_stacked(module)
        if found is None:
            continue
        name, index = found
        into = trees[index].setdefault(name, {})
        for key, value in variables.items():
            if key in into:
                raise LoopError(
                    f"The transparency_map takes two modules for layer {index} of {name!r}; both"
                    f" have {key!r}."
                )
            into[key] = value
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
