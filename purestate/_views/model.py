"""`Model`: parameters, state and key in one object, over the same pure functions.

It is a pytree. Its arrays are its leaves; the rest (the function, whether it trains, what is
frozen) is static. A call is `apply` with these arrays, after which the model has the new state and
key. So it behaves as objects of Treex, MLAX and Equinox do: a jitted function that changes a model
has to return it.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic

import jax

from purestate._core import trace_guard
from purestate._core.errors import JaxUsageError, MissingRNGError
from purestate._core.outlines import outline
from purestate._core.pairs import MutableParams, MutableState
from purestate._editing.predicates import as_predicate
from purestate._views.bound_function import BoundFunction
from purestate._views.calls import Call, Path, is_hashable, path_text
from purestate._views.errors import ViewError, ViewTypeError
from purestate._views.help import help_text, instance_doc, signature_of, target_of
from purestate._views.members import Member, member, part_values
from purestate._views.modes import MODE_ARGUMENTS
from purestate._views.parts import (
    Keys,
    as_bundle,
    copied,
    filled,
    filled_in,
    holes,
    parts_by_name,
    parts_by_predicate,
    split_key,
)

if TYPE_CHECKING:
    # With defaults, so that `model: ps.Model` is a model of any function.
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

_SAME: Any = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Static:
    """What a model is made of. `jax.jit` takes two models of equal ones for the same."""

    f: BoundFunction
    training: bool | None = None
    frozen: tuple[Any, ...] = ()
    untrainable: frozenset[tuple[str, str]] = frozenset()
    attributes: frozenset[tuple[Path, Any]] = frozenset()

    def __repr__(self) -> str:  # shown in the structure of a pytree with models
        names = [field.name for field in dataclasses.fields(self)[1:]]
        values = [(name, getattr(self, name)) for name in names]
        said = [f"{name}={value!r}" for name, value in values if value not in (None, (), set())]
        return ", ".join([self.f.name, *said])


class Model(Generic[P, R]):
    """A function with its parameters, state and key, as one object; made by `bind`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x):
    ...     n = ps.get_state("n", [], init=jnp.zeros)
    ...     ps.set_state("n", n + 1)
    ...     return ps.Linear(2)(x)
    >>> f = ps.transform_with_state(forward)
    >>> model = ps.bind(f, *f.init(jax.random.key(0), jnp.ones([1, 3])))
    >>> model
    Model(forward, 8 parameters, state of 1 module)
    >>> model(jnp.ones([1, 3])).shape, float(model.state["~"]["n"])
    ((1, 2), 1.0)

    Attributes:
      params: `{module: {name: array}}`.
      state: likewise, after the last call; for `transform_with_collections`, `{collection: {module:
        {name: array}}}`.
      rng: the key, or keys by stream, that the next call splits; or None.
      training: the mode that calls have by default; None if the model has none.
    """

    __slots__ = ("__weakref__", "_born", "_static", "params", "rng", "state")

    params: MutableParams
    state: MutableState
    rng: Keys

    def __init__(self, static: Static, params: MutableParams, state: MutableState, rng: Keys):
        self._static = static
        self.params = params
        self.state = state
        self.rng = rng
        self._born = trace_guard.current_trace_state()

    # Calls

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function, and keeps the new state and the new key.

        Args:
          *args: for the function.
          **kwargs: for the function.

        Returns:
          The result of the function.

        Raises:
          JaxUsageError: the model comes from outside of a JAX transform, and would be changed
            inside it.
          ViewError: it has holes, as the results of `parameters()` and `filter()` do.
        """
        return self._run((), args, kwargs)

    def _run(self, path: Path, args: Any, kwargs: Any) -> Any:
        static = self._static
        self._check_no_holes()
        rng, key = split_key(self.rng)
        call = Call(path, True, static, static.f.see)
        try:
            out, params, state = static.f.apply(self.params, self.state, key, call, *args, **kwargs)
        except MissingRNGError as error:
            if key is None:
                error.add_note(
                    "This is a model without a key. Give it one: ps.bind(f, params, state,"
                    " jax.random.key(0))."
                )
            raise
        self._check_outlives(params, state, rng, list(call.changed.values()))
        self._keep_attributes(call.changed)
        self.params, self.state, self.rng = params, state, rng
        return out

    def _check_no_holes(self) -> None:
        if any(
            value is None
            for bundles in self._static.f.bundles(self.params, self.state)
            for bundle in bundles.values()
            for value in bundle.values()
        ):
            raise ViewError(
                "This model has holes, None, for parameters or state that were left out (by"
                " `parameters`, `filter` or `partition`), so it cannot be called. Fill them first:"
                " `model.update(part)`, or ps.surgery.combine."
            )

    def _check_outlives(self, *values: object) -> None:
        if trace_guard.current_trace_state() != self._born and not trace_guard.outlives_trace(
            values, self._born
        ):
            raise JaxUsageError(
                "A model from outside of a JAX transform (jax.jit, jax.grad, ...) was called inside"
                " it, so its new state would be a dead tracer outside. Pass the model as"
                " an argument, and return it: `def step(model, x): y = model(x); return y, model`."
                " Under jax.grad, an argument that is not differentiated is still the one from"
                " outside: call `model.update(params)`, or `model.copy()`."
            )

    def _keep_attributes(self, changed: Mapping[Path, Any]) -> None:
        for path, value in changed.items():
            if not is_hashable(value):
                raise unhashable("A model", path_text(path), type(value).__name__)
        if changed:
            attributes = frozenset({**dict(self._static.attributes), **changed}.items())
            self._static = dataclasses.replace(self._static, attributes=attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return member(self, (name,))

    @property
    def __signature__(self) -> inspect.Signature:
        target = target_of(self._static.f, ())
        if target is None:
            raise AttributeError("__signature__")
        return signature_of(target)

    # Parts

    def _with(
        self, *, rng: Any = _SAME, params: Any = _SAME, state: Any = _SAME, **changes: Any
    ) -> "Model[P, R]":
        """Returns another model, which has no dict in common with this one."""
        return Model(
            dataclasses.replace(self._static, **changes) if changes else self._static,
            copied(self.params if params is _SAME else params),
            copied(self.state if state is _SAME else state),
            copied(self.rng if rng is _SAME else rng),
        )

    def copy(self) -> "Model[P, R]":
        """Returns a copy with the same arrays, whose calls do not change this model."""
        return self._with()

    __copy__ = copy

    def __reduce__(self) -> Any:
        return Model, (self._static, self.params, self.state, self.rng)

    def parameters(self) -> "Model[P, R]":
        """Returns a model with holes for all but the parameters: what to differentiate by."""
        return self._with(state=holes(self.state), rng=None)

    def trainable_parameters(self) -> "Model[P, R]":
        """Returns `parameters()` with holes for frozen parameters too.

        Parameters are frozen by `freeze`, and by the specs that `bind` was given.
        """
        params = {
            module: {
                name: holes(value) if self._is_frozen(module, name, value) else value
                for name, value in bundle.items()
            }
            for module, bundle in self.params.items()
        }
        return self._with(params=params, state=holes(self.state), rng=None)

    def _is_frozen(self, module: str, name: str, value: object) -> bool:
        return (module, name) in self._static.untrainable or any(
            as_predicate(frozen)(module, name, value) for frozen in self._static.frozen
        )

    def update(self, part: "Model[..., Any] | Member | Mapping[str, Any]") -> "Model[P, R]":
        """Returns a model with the values of `part`.

        Args:
          part: a model with holes, such as `parameters()` returns; or a submodule, such as
            `model.encoder`; or plain params, `{module: {name: array}}`. For a hole, and for what
            the submodule does not have, the model keeps its value.

        Returns:
          A new model; this one does not change.

        Raises:
          ViewError: `part` has another structure, or its params have other shapes or dtypes of
            another kind.
          ViewTypeError: `part` is something else.
        """
        if isinstance(part, Member):
            params, state = part_values(part)
            return self._with(
                params=filled_in(params, self.params, "params"),
                state=filled_in(state, self.state, "state"),
            )
        if not isinstance(part, Model):
            if not isinstance(part, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ViewTypeError(
                    "`model.update` takes a model, a submodule or params, {module: {name: array}},"
                    f" but got {outline(part)}."
                )
            return self._with(params=filled(as_bundle(part, "part"), self.params, "params"))
        return self._with(
            params=filled(part.params, self.params, "params"),
            state=filled(part.state, self.state, "state"),
            rng=self.rng if part.rng is None else part.rng,
        )

    merge = update

    def filter(self, f: Callable[..., Any] | str, inverse: bool = False) -> "Model[P, R]":
        """Returns a model with the arrays that `f` chooses, and holes for the others.

        Args:
          f: `f(leaf)`, or a predicate of `ps.surgery`, for parameters and state; or "params",
            "state" or "rng"; or for `transform_with_collections` the name of a collection. "state"
            includes the key.
          inverse: whether to choose the others instead.

        Returns:
          A model of the same structure.

        Raises:
          ViewError: there is no such name.
        """
        return self.partition(f)[1 if inverse else 0]

    def partition(self, f: Callable[..., Any] | str) -> "tuple[Model[P, R], Model[P, R]]":
        """Returns `(filter(f), filter(f, inverse=True))`; `update` is the inverse.

        Args:
          f: see `filter`. The key is in the second part, unless `f` is "state" or "rng".

        Returns:
          Two models that have no array in common.
        """
        if isinstance(f, str):
            collections = self.state if self._static.f.has_collections else {}
            split = parts_by_name(f, self.params, self.state, self.rng, collections)
        else:
            split = parts_by_predicate(f, self.params, self.state, self.rng)
        (params, other_params), (state, other_state), (rng, other_rng) = split
        return (
            self._with(params=params, state=state, rng=rng),
            self._with(params=other_params, state=other_state, rng=other_rng),
        )

    # Modes

    @property
    def training(self) -> bool | None:
        """The mode that calls have by default."""
        return self._static.training

    def train(self) -> "Model[..., R]":
        """Returns a copy whose calls train: `is_training=True`, or whatever its function calls it.

        Raises:
          ViewError: the function has no such argument.
        """
        return self._in_mode(True)

    def eval(self) -> "Model[..., R]":
        """Returns a copy whose calls do not train; see `train`."""
        return self._in_mode(False)

    def _in_mode(self, training: bool) -> "Model[..., R]":
        if not self._static.f.has_mode(self.params, self.state, self.rng):
            raise ViewError(
                f"`model.{'train' if training else 'eval'}()`: the function has no argument for it."
                f" Give it one of {', '.join(MODE_ARGUMENTS)}, and pass that on to BatchNorm,"
                " Dropout and the like."
            )
        return self._with(training=training)

    def freeze(self, predicate: Callable[..., Any] | str = "*") -> "Model[P, R]":
        """Returns a copy in which more parameters are frozen.

        Args:
          predicate: which parameters to freeze: a glob of full names, such as `"encoder/*"`; a
            predicate of `ps.surgery`; or `predicate(module, name, value)`. By default all.
        """
        return self._with(frozen=(*self._static.frozen, predicate))

    def unfreeze(self) -> "Model[P, R]":
        """Returns a copy without what `freeze` froze. What specs say still holds."""
        return self._with(frozen=())

    def unbind(self) -> tuple[MutableParams, MutableState, Keys]:
        """Returns `(params, state, rng)`, which `bind` makes a model of again."""
        return copied(self.params), copied(self.state), copied(self.rng)

    def __repr__(self) -> str:
        count = sum(x.size for x in jax.tree.leaves(self.params) if hasattr(x, "size"))
        bound = self._static.f
        text = f"{bound.name}, {count:,} parameters"
        if self.state:
            what = "collection" if bound.has_collections else "module"
            text += f", state of {len(self.state)} {what}{'s' if len(self.state) > 1 else ''}"
        return f"Model({text})"


def _help(model: Model) -> str:
    about = (
        f"{model!r} is a purestate.Model: a call keeps the new state and key. See help(ps.Model)."
    )
    return help_text(target_of(model._static.f, ()), model._static.f.name, about)


Model.__doc__ = instance_doc(str(Model.__doc__), _help)


def unhashable(owner: str, name: str, kind: str) -> ViewTypeError:
    """The error for a hyperparameter that `jax.jit` cannot compare."""
    return ViewTypeError(
        f"{owner} has the hyperparameter {name!r} of type {kind}, which cannot be hashed, so"
        " jax.jit cannot tell whether it has changed. Use a tuple, a frozenset or the like."
    )


def _flatten_with_keys(model: Model) -> Any:
    key = jax.tree_util.GetAttrKey
    children = ((key("params"), model.params), (key("state"), model.state), (key("rng"), model.rng))
    return children, model._static


def _flatten(model: Model) -> Any:
    return (model.params, model.state, model.rng), model._static


def _unflatten(static: Static, children: Any) -> Model:
    return Model(static, *children)


jax.tree_util.register_pytree_with_keys(Model, _flatten_with_keys, _unflatten, _flatten)
