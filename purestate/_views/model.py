"""`bind`: a model object that holds its parameters, state and key, over the same pure functions.

It is a pytree. What it holds are its leaves, what it is made of (the function, whether it trains,
what is frozen) is static. A call is `apply` with what it holds; the new state and key are put in
their places. So it behaves as objects of Treex, MLAX and Equinox do: what a jitted function changes
in it comes out with it, or is gone.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from purestate._core import trace_guard
from purestate._core.collection import Bundle
from purestate._core.errors import JaxUsageError, MissingRNGError
from purestate._core.module import Module
from purestate._core.outlines import outline
from purestate._core.pairs import Transformed, TransformedWithState
from purestate._core.transform import transform_with_state
from purestate._editing import holes
from purestate._editing.paths import difference, is_hole
from purestate._editing.predicates import as_predicate
from purestate._editing.trainable import trainable_mask
from purestate._state.set_up_module import Container
from purestate._state.transform_with_collections import TransformedWithCollections
from purestate._views.bound_function import (
    MODE_ARGUMENTS,
    BoundFunction,
    Call,
    Step,
    bound_function,
    holds_modules,
    original,
)
from purestate._views.errors import ViewAttributeError, ViewError, ViewTypeError

_SAME: Any = object()


@dataclasses.dataclass(frozen=True, slots=True)
class _Static:
    """What a model is made of. Two models of the same are interchangeable for `jax.jit`."""

    f: BoundFunction
    training: bool | None = None
    frozen: tuple[Any, ...] = ()
    untrainable: frozenset[tuple[str, str]] = frozenset()
    attributes: frozenset[tuple[tuple[Step, ...], Any]] = frozenset()


class Model:
    """A function with its parameters, state and key, as one object; made by `bind`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     n = ps.get_state("n", [], init=jnp.zeros)
    ...     ps.set_state("n", n + 1)
    ...     return ps.Linear(2)(x)
    >>> f = ps.transform_with_state(forward)
    >>> model = ps.bind(f, *f.init(jax.random.key(0), jnp.ones([1, 3])))
    >>> model(jnp.ones([1, 3])).shape, float(model.state["~"]["n"])
    ((1, 2), 1.0)

    Attributes:
      params: `{module: {name: array}}`.
      state: likewise, as of the last call; for `transform_with_collections`, `{collection: {module:
        {name: array}}}`.
      rng: the key, or keys by stream, that the next call splits; or None.
      training: what calls are told by default; None where nothing was said.
    """

    __slots__ = ("__weakref__", "_born", "_static", "params", "rng", "state")

    params: Any
    state: Any
    rng: Any

    def __init__(self, static: _Static, params: Any, state: Any, rng: Any):
        self._static = static
        self.params = params
        self.state = state
        self.rng = rng
        self._born = trace_guard.current_trace_state()

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function, and keeps the state and the key that come out.

        Args:
          *args: for the function.
          **kwargs: for the function.

        Returns:
          What the function returns.

        Raises:
          JaxUsageError: the model comes from outside of a JAX transform, and would be changed
            inside it.
          ViewError: some of its parameters are left out, as `parameters()` and `filter()` do.
        """
        return self._run((), args, kwargs)

    def _run(self, path: tuple[Step, ...], args: Any, kwargs: Any) -> Any:
        static = self._static
        if any(
            value is None
            for bundles in static.f.bundles(self.params, self.state)
            for bundle in bundles.values()
            for value in bundle.values()
        ):
            raise ViewError(
                "This model has holes where parameters or state were left out (by `parameters`,"
                " `filter` or `partition`), so it cannot be called. Put it together first:"
                " `model.update(part)`."
            )
        rng, key = _split(self.rng)
        call = Call(path, True, static)
        try:
            out, params, state = static.f.apply(self.params, self.state, key, call, *args, **kwargs)
        except MissingRNGError as error:
            if key is None:
                error.add_note(
                    "This is a model without a key. Give it one: ps.bind(f, params, state,"
                    " jax.random.key(0))."
                )
            raise
        if trace_guard.current_trace_state() != self._born and not trace_guard.outlives_trace(
            (params, state, rng, list(call.changed.values())), self._born
        ):
            raise JaxUsageError(
                "A model was called inside a JAX transform (jax.jit, jax.grad, ...) that it was not"
                " given to, so that its new state would be a dead tracer outside. Pass the model as"
                " an argument, and return it: `def step(model, x): y = model(x); return y, model`."
                " Under jax.grad, an argument that is not differentiated is still the one from"
                " outside: call `model.update(params)`, or `model.copy()`."
            )
        for where, value in call.changed.items():
            _check_hashable("A model", ".".join(map(str, where)), value)
        self.params, self.state, self.rng = params, state, rng
        if call.changed:
            attributes = frozenset({**dict(static.attributes), **call.changed}.items())
            self._static = dataclasses.replace(static, attributes=attributes)
        return out

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _member(self, (name,))

    # Parts

    def _with(
        self, *, rng: Any = _SAME, params: Any = _SAME, state: Any = _SAME, **changes: Any
    ) -> "Model":
        """Returns another model, which has no dict in common with this one."""
        return Model(
            dataclasses.replace(self._static, **changes) if changes else self._static,
            _copy(self.params if params is _SAME else params),
            _copy(self.state if state is _SAME else state),
            _copy(self.rng if rng is _SAME else rng),
        )

    def copy(self) -> "Model":
        """Returns a model of its own, with the same arrays."""
        return self._with()

    __copy__ = copy

    def __reduce__(self) -> Any:
        return Model, (self._static, self.params, self.state, self.rng)

    def parameters(self) -> "Model":
        """Returns a model with the parameters alone, and holes for all else: what to differentiate by."""
        return self._with(state=_holes(self.state), rng=None)

    def trainable_parameters(self) -> "Model":
        """Returns `parameters()`, with holes for those that are frozen too.

        That is by `freeze`, and, where `bind` was given specs, by what they say.
        """
        params = {
            module: {
                name: _holes(value) if self._is_frozen(module, name, value) else value
                for name, value in bundle.items()
            }
            for module, bundle in self.params.items()
        }
        return self._with(params=params, state=_holes(self.state), rng=None)

    def _is_frozen(self, module: str, name: str, value: Any) -> bool:
        return (module, name) in self._static.untrainable or any(
            as_predicate(frozen)(module, name, value) for frozen in self._static.frozen
        )

    def update(self, part: Any) -> "Model":
        """Returns a model with other values where `part` has any.

        Args:
          part: a model with holes, as `parameters()` and the like return; or plain params,
            `{module: {name: array}}`. A hole keeps the old value.

        Returns:
          A new model. This one stays as it is.

        Raises:
          ViewError: `part` is of another structure.
        """
        if not isinstance(part, Model):
            if not isinstance(part, Mapping):
                raise ViewTypeError(
                    "`model.update` takes a model or params, {module: {name: array}}, but got"
                    f" {outline(part)}."
                )
            return self._with(params=_filled(_as_bundle(part, "part"), self.params, "params"))
        return self._with(
            params=_filled(part.params, self.params, "params"),
            state=_filled(part.state, self.state, "state"),
            rng=self.rng if part.rng is None else part.rng,
        )

    merge = update

    def filter(self, f: Any, inverse: bool = False) -> "Model":
        """Returns a model with the arrays that `f` chooses, and holes for the others.

        Args:
          f: `f(leaf)`, or a predicate of `ps.surgery`, asked of parameters and state; or "params",
            "state" or "rng", or for `transform_with_collections` the name of a collection. State
            includes the key.
          inverse: whether to choose the others instead.

        Returns:
          A model of the same structure.

        Raises:
          ViewError: there is no such name.
        """
        return self.partition(f)[1 if inverse else 0]

    def partition(self, f: Any) -> tuple["Model", "Model"]:
        """Returns `(filter(f), filter(f, inverse=True))`; `update` puts them together again.

        Args:
          f: see `filter`. The key is in the second part, unless `f` is "state" or "rng".

        Returns:
          Two models that have no array in common.
        """
        if isinstance(f, str):
            parts = self._by_name(f)
        else:
            parts = (
                *(holes.partition(tree, f) for tree in (self.params, self.state)),
                (None, self.rng),
            )
        (params, other_params), (state, other_state), (rng, other_rng) = parts
        return (
            self._with(params=params, state=state, rng=rng),
            self._with(params=other_params, state=other_state, rng=other_rng),
        )

    def _by_name(self, name: str) -> Any:
        collections: Any = self.state if self._static.f.has_collections else {}
        if name not in ("params", "state", "rng", *collections):
            raise ViewError(
                f"`model.filter({name!r})`: a name has to be one of"
                f" {', '.join(['params', 'state', 'rng', *collections])}; for others give a"
                " predicate, such as ps.surgery.glob('encoder/*')."
            )

        def parts(tree: Any, is_chosen: bool) -> tuple[Any, Any]:
            return (tree, _holes(tree)) if is_chosen else (_holes(tree), tree)

        if collections:
            each = {c: parts(bundle, name in (c, "state")) for c, bundle in collections.items()}
            state = (
                {c: part for c, (part, _) in each.items()},
                {c: part for c, (_, part) in each.items()},
            )
        else:
            state = parts(self.state, name == "state")
        rng = (self.rng, None) if name in ("state", "rng") else (None, self.rng)
        return parts(self.params, name == "params"), state, rng

    # Modes

    @property
    def training(self) -> bool | None:
        """What calls are told by default."""
        return self._static.training

    def train(self) -> "Model":
        """Returns a copy whose calls train by default: `is_training=True`, or whatever the function calls it.

        Raises:
          ViewError: the function has no such argument.
        """
        return self._in_mode(True)

    def eval(self) -> "Model":
        """Returns a copy whose calls do not train by default; see `train`."""
        return self._in_mode(False)

    def _in_mode(self, training: bool) -> "Model":
        if not self._static.f.has_mode():
            raise ViewError(
                f"`model.{'train' if training else 'eval'}()`: the function has no argument for it."
                f" Give it one of {', '.join(MODE_ARGUMENTS)}, and pass that on to BatchNorm,"
                " Dropout and the like."
            )
        return self._with(training=training)

    def freeze(self, predicate: Callable[..., Any] | str = "*") -> "Model":
        """Returns a copy that has fewer `trainable_parameters()`.

        Args:
          predicate: which are frozen, besides those that are: a glob of full names, such as
            `"encoder/*"`; a predicate of `ps.surgery`; or `predicate(module, name, value)`. By
            default all.
        """
        return self._with(frozen=(*self._static.frozen, predicate))

    def unfreeze(self) -> "Model":
        """Returns a copy of which nothing is frozen that its modules do not freeze themselves."""
        return self._with(frozen=())

    def unbind(self) -> tuple[Any, Any, Any]:
        """Returns `(params, state, rng)`, from which `bind` makes such a model again."""
        return _copy(self.params), _copy(self.state), _copy(self.rng)

    def __repr__(self) -> str:
        count = sum(x.size for x in jax.tree.leaves(self.params) if hasattr(x, "size"))
        name = getattr(original(self._static.f.source), "__name__", "?")
        return (
            f"Model({name}, {count:,} parameters in {len(self.params)} modules, state in"
            f" {len(self.state)})"
        )


def _flatten_with_keys(model: Model) -> Any:
    keys = (
        (jax.tree_util.GetAttrKey("params"), model.params),
        (
            jax.tree_util.GetAttrKey("state"),
            model.state,
        ),
    )
    return (*keys, (jax.tree_util.GetAttrKey("rng"), model.rng)), model._static


def _flatten(model: Model) -> Any:
    return (model.params, model.state, model.rng), model._static


def _unflatten(static: _Static, children: Any) -> Model:
    return Model(static, *children)


jax.tree_util.register_pytree_with_keys(Model, _flatten_with_keys, _unflatten, _flatten)


class _Member:
    """A method or submodule of a model that is made of a module: `model.encoder(x)`, `model.layers[0](x)`."""

    __slots__ = ("_model", "_path")

    def __init__(self, model: Model, path: tuple[Step, ...]):
        self._model = model
        self._path = path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model._run(self._path, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _member(self._model, (*self._path, name))

    def __getitem__(self, key: Any) -> Any:
        return _member(self._model, (*self._path, (key,)))

    def __repr__(self) -> str:
        return f"<{_shown(self._path)} of {self._model!r}>"


def _shown(path: tuple[Step, ...]) -> str:
    return "".join(
        f"[{step[0]!r}]" if isinstance(step, tuple) else f".{step}" for step in path
    ).removeprefix(".")


def _member(model: Model, path: tuple[Step, ...]) -> Any:
    """Returns the value of an attribute, or what calls a method or submodule."""
    static: _Static = object.__getattribute__(model, "_static")
    if static.f.module_class is None:
        raise ViewAttributeError(
            f"This model has no attribute {path[0]!r}. Methods and submodules can be reached where"
            " the model is made of a module: `ps.bind(Net, params, state)`, or `ps.bind(lambda:"
            " Net(...), params, state)`."
        )
    try:
        found, *_ = static.f.apply(model.params, model.state, None, Call(path, False, static))
    except AttributeError as error:
        raise ViewAttributeError(
            f"{_shown(path)!r} was not found in the module that this model is made of:"
            f" {str(error).partition(chr(10))[0]}."
        ) from None
    if callable(found) or isinstance(found, Container) or holds_modules(found):
        return _Member(model, path)
    return found


def bind(
    f: Any,
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    rng: Any = None,
    *,
    specs: Any = None,
    strict: bool = False,
) -> Model:
    """Returns a model object of a function, its parameters, state and key.

    It is a pytree, so that it goes through `jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan`. A
    call updates the state and the key of that object. What is changed inside a jitted function
    stays there, unless the model is returned.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Net(ps.Module):
    ...     count = ps.state_attr([], jnp.int32, jnp.zeros)
    ...     def __call__(self, x):
    ...         self.count += 1
    ...         return ps.Linear(1)(x)
    >>> f = ps.transform_with_state(lambda x: Net()(x))
    >>> x = jnp.ones([4, 3])
    >>> model = ps.bind(Net, *f.init(jax.random.key(0), x))
    >>> def loss(params, model, x):
    ...     model = model.update(params)
    ...     return (model(x) ** 2).mean(), model
    >>> grads, model = jax.grad(loss, has_aux=True)(model.parameters(), model, x)
    >>> int(model.count), grads.params["net/linear"]["w"].shape
    (1, (3, 1))

    Args:
      f: what `transform`, `transform_with_state` or `transform_with_collections` returned, or a
        function; or a module class, or a function without arguments that returns a module, whose
        methods and submodules can then be reached.
      params: as `init` returns them; of `transform_with_collections`, all variables. Then all
        collections that are there may change in a call, params too.
      state: likewise.
      rng: a key for calls to draw from, an int, a dict of keys by stream, or None.
      specs: what `ps.specs` returned; tells which parameters are not trainable.
      strict: whether attributes of the module that cannot be hashed are an error, too. Arrays
        always are.

    Returns:
      A `Model`.

    Raises:
      ViewTypeError: `f` is no function, `params` or `state` is no dict, or the module keeps an
        array as a plain attribute.
    """
    if not (
        callable(f)
        or isinstance(f, (Transformed, TransformedWithState, TransformedWithCollections))
    ):
        raise ViewTypeError(
            f"`ps.bind` takes a function or a transformed one, but got {outline(f)}."
        )
    for name, value in (("params", params), ("state", state)):
        if (value is not None or name == "params") and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ViewTypeError(
                f"`ps.bind(f, params, state, rng)`: {name} has to be {{module: {{name: array}}}},"
                f" but it is {outline(value)}."
            )
    bound = bound_function(f)
    if not bound.has_collections:
        params, state = _as_bundle(params, "params"), _as_bundle(state or {}, "state")
    else:
        variables = params if state is None else {"params": params, **state}
        bundles = {
            c: _as_bundle(b if isinstance(b, Mapping) else {c: b}, repr(c))
            for c, b in variables.items()
        }
        params, state = bundles.pop("params", {}), bundles
    rng = jax.tree.map(lambda key: jax.random.key(key) if isinstance(key, int) else key, rng)
    if bound.module_class is not None:
        _check_attributes(bound.source, params, state, rng, strict)
    untrainable: frozenset[tuple[str, str]] = frozenset()
    if specs is not None:
        mask = trainable_mask(specs)
        untrainable = frozenset(
            (module, name)
            for module, bundle in mask.items()
            for name in bundle
            if not all(jax.tree.leaves(bundle[name]))
        )
    return Model(_Static(bound, untrainable=untrainable), params, state, rng)


def _check_attributes(
    make: Callable[[], Any], params: Any, state: Any, rng: Any, strict: bool
) -> None:
    def look() -> None:
        module = make()
        for name, value in vars(module).items():
            if name.startswith("_") or isinstance(value, Module):
                continue
            if any(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in jax.tree.leaves(value)):
                raise ViewTypeError(
                    f"{type(module).__name__} keeps an array as the plain attribute {name!r}. It"
                    " would be part of what the model is made of, where arrays cannot be compared."
                    " Make it state or a parameter: ps.state_attr, ps.param_attr."
                )
            if strict:
                _check_hashable(type(module).__name__, name, value)

    jax.eval_shape(transform_with_state(look).apply, params, state, rng)


def _check_hashable(owner: str, name: str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        raise ViewTypeError(
            f"{owner} has the hyperparameter {name!r} of type {type(value).__name__}, which cannot"
            " be hashed, so that jax.jit cannot know whether it has changed. Use a tuple, a"
            " frozenset or the like."
        ) from None


def _split(rng: Any) -> tuple[Any, Any]:
    """Returns the key to keep and the key to use; of keys by stream, dicts of them."""
    if rng is None:
        return None, None
    if isinstance(rng, Mapping):
        pairs = {stream: jax.random.split(key) for stream, key in rng.items()}
        return {stream: keep for stream, (keep, _) in pairs.items()}, {
            stream: use for stream, (_, use) in pairs.items()
        }
    keep, use = jax.random.split(rng)
    return keep, use


def _as_bundle(bundle: Any, what: str) -> Bundle:
    """Returns a bundle of plain dicts."""
    wrong = [value for value in bundle.values() if not isinstance(value, Mapping)]
    if wrong:
        raise ViewTypeError(
            f"`ps.bind`: {what} has to be {{module: {{name: array}}}}, but it has"
            f" {outline(wrong[0])} where a dict should be. Of `transform_with_collections` it takes"
            " all variables, {'params': params, **others}."
        )
    return {module: dict(values) for module, values in bundle.items()}


def _copy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf, tree)


def _holes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: None, tree)


def _filled(part: Any, old: Any, what: str) -> Any:
    """Returns `part` with the old values in its holes."""
    where = difference(part, old, ("what is given", "the model"))
    if where is not None:
        raise ViewError(
            f"`model.update`: the {what} have another structure than the model's: {where}."
        )
    return jax.tree.map(
        lambda new, before: before if new is None else new, part, old, is_leaf=is_hole
    )
