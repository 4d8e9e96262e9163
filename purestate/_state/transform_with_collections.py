"""`transform_with_collections`: a pure pair over collections; `apply` says which may change."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, overload

from purestate._core.collection import AllBut, Bundle, Collection, copy_bundle
from purestate._core.config import get_config
from purestate._core.errors import ArgumentError
from purestate._core.frame import Frame
from purestate._core.layout import ByCollection
from purestate._core.outlines import outline
from purestate._core.pairs import (
    A,
    I,
    P,
    Program,
    PureFunction,
    R,
    R_co,
    Rng,
    called_pair,
    repr_pair,
)
from purestate._core.run import check_mapping, has_shapes_only, new_keys, run
from purestate._core.signatures import or_any
from purestate._core.transform import check_first, program_for

Variables = dict[str, Bundle]
"""`{collection: {module: {name: array}}}`."""

Mutable = bool | str | Iterable[str] | AllBut
"""Which collections may change: all, none, one, some, or all but some."""

GivenVariables = Mapping[str, Mapping[str, Mapping[str, Any]]] | None
"""What `apply` takes as variables."""

if TYPE_CHECKING:
    from purestate._core.pairs import CallableModule

    class InitCollections(Protocol[P]):
        def __call__(self, rng: Rng, *args: P.args, **kwargs: P.kwargs) -> Variables: ...

    class ApplyCollections(Protocol[P, R_co]):
        # Python cannot say that a keyword comes with the arguments of P, so with `mutable` the
        # others are not checked.
        @overload
        def __call__(
            self, variables: GivenVariables, rng: Rng, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...
        @overload
        def __call__(
            self,
            variables: GivenVariables,
            rng: Rng,
            *args: Any,
            mutable: Literal[False],
            **kwargs: Any,
        ) -> R_co: ...
        @overload
        def __call__(
            self,
            variables: GivenVariables,
            rng: Rng,
            *args: Any,
            mutable: Literal[True] | Iterable[str] | AllBut,
            **kwargs: Any,
        ) -> tuple[R_co, Variables]: ...
        @overload
        def __call__(
            self, variables: GivenVariables, rng: Rng, *args: Any, mutable: bool, **kwargs: Any
        ) -> R_co | tuple[R_co, Variables]: ...


_APPLY = "apply(variables, rng, ...)"
_ALL = AllBut()


class TransformedWithCollections(NamedTuple, Generic[I, A]):
    """A pure pair over collections; see `transform_with_collections`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> variables`.
      apply: `apply(variables, rng, *args, mutable=False, **kwargs) -> out`, or `(out, updated)`.
    """

    init: I
    apply: A

    def __repr__(self) -> str:
        return repr_pair(self)

    if not TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise called_pair(self, "variables = f.init(rng, ...)", "f.apply(variables, rng, ...)")


def _as_container(mutable: Any) -> AllBut | tuple[str, ...]:
    if isinstance(mutable, AllBut):
        return mutable
    if isinstance(mutable, bool) or mutable is None:
        return _ALL if mutable else ()
    if isinstance(mutable, str):
        return (mutable,)
    try:
        names = tuple(mutable)
    except TypeError:
        names = (mutable,)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ArgumentError(
            "`mutable` must be a bool, the name of a collection, a list of names, or"
            f" ps.AllBut(names), but is or holds {outline(wrong[0])}."
        )
    return names


@overload
def transform_with_collections(
    f: "type[CallableModule[P, R]]",
    *,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "TransformedWithCollections[InitCollections[P], ApplyCollections[P, R]]": ...
@overload
def transform_with_collections(
    f: "Callable[P, R]",
    *,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "TransformedWithCollections[InitCollections[P], ApplyCollections[P, R]]": ...
def transform_with_collections(
    f: Callable[..., Any], *, rng_mode: str = "sequence", strict: bool = False
) -> TransformedWithCollections[Any, Any]:
    """Turns a function into two pure functions of one dict with a bundle for each collection.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x, is_training):
    ...     return ps.BatchNorm(True, True, decay_rate=0.9)(x, is_training)
    >>> f = ps.transform_with_collections(forward)
    >>> x = jnp.ones([4, 2])
    >>> variables = f.init(jax.random.key(0), x, True)
    >>> list(variables)
    ['params', 'batch_stats']
    >>> out, updated = f.apply(variables, None, x, True, mutable=["batch_stats"])
    >>> variables |= updated
    >>> out = f.apply(variables, None, x, False)

    Args:
      f: a function that makes and uses modules, variables and random keys.
      rng_mode: "sequence" or "path"; see `transform_with_state`.
      strict: whether `apply` first checks its arguments; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> variables` and
      `apply(variables, rng, *args, mutable=False, **kwargs) -> out`. `variables` is a dict
      `{"params": ..., "batch_stats": ..., ...}`. Each of its values is a bundle
      `{module: {name: array}}`. From `init` they are the initial values.
      If something is mutable, `apply` returns `(out, updated)` instead. `updated` has the mutable
      collections. `mutable` is True, False, a name, a list of names, or `AllBut(names)`. The
      function can read all other collections, but not set or create variables in them.

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function; from `apply`, `variables` or `mutable` is not of that
        form.
      ImmutableCollectionError: from `apply`, if a variable is set in a collection that is not
        mutable.
    """
    program = program_for(f, "transform_with_collections", rng_mode, strict)
    return TransformedWithCollections(_Init(program), _Apply(program))


class _Init(PureFunction):
    role = "init"
    leading = ("rng",)
    about = (
        "Returns variables, {collection: {module: {name: array}}}. An argument may be a"
        " jax.ShapeDtypeStruct if no initial value depends on its elements."
    )
    _returns = staticmethod(lambda out: Variables)

    def _run(self, /, rng: Any, *args: Any, **kwargs: Any) -> Variables:
        if has_shapes_only((rng, args, kwargs)):
            from purestate._core.initial_values import initial_values  # few programs need it

            return initial_values(self, (rng, *args), kwargs)
        program = self.program
        keys = new_keys(rng, "init(rng, ...)", (rng,), program.rng_mode)
        layout = ByCollection(AllBut())
        frame = Frame(layout.initialized({}), layout, keys, running_init=True)
        run(program.body, frame, args, kwargs)
        kept = {name: collection.initial or {} for name, collection in frame.collections.items()}
        return {name: bundle for name, bundle in kept.items() if bundle or name == "params"}


class _Apply(PureFunction):
    leading = ("variables", "rng")
    about = (
        "Returns the result of the function; with `mutable`, (out, updated) with the collections"
        " that may change."
    )
    _returns = staticmethod(or_any)
    _keywords = {"mutable": False}

    def _run(
        self, /, variables: Any, rng: Any, *args: Any, mutable: Mutable = False, **kwargs: Any
    ) -> Any:
        program = self.program
        if program.strict:
            unchecked = _Apply(Program(program.function, program.body, program.rng_mode))
            check_first(unchecked, (variables, rng, *args), {**kwargs, "mutable": mutable})
        variables = check_mapping("variables", variables, _APPLY, (variables, rng))
        _check_levels(variables)
        may_change = _as_container(mutable)
        keys = new_keys(rng, _APPLY, (variables, rng), program.rng_mode)
        stale_state = get_config().stale_state
        if stale_state != "off":
            from purestate._core.stale_state import check_fresh  # few programs need it

            check_fresh(variables, stale_state)
        collections = _collections(variables, may_change)
        frame = Frame(collections, ByCollection(may_change), keys, running_init=False)
        out = run(program.body, frame, args, kwargs)
        if not may_change and not isinstance(may_change, AllBut):
            return out
        updated = _updated(frame, variables, may_change)
        if stale_state != "off":
            from purestate._core.stale_state import note_replaced

            note_replaced(variables, updated)
        return out, updated


def _check_levels(variables: Mapping[str, Any]) -> None:
    """Raises unless `variables` has three levels: collection, module, name."""
    for name, bundle in variables.items():
        if not isinstance(bundle, Mapping):
            raise ArgumentError(
                "`variables` must be {collection: {module: {name: array}}}, but its"
                f" {name!r} is {outline(bundle)}. Are the arguments in this order? {_APPLY}"
            )
        inner = next(iter(bundle.values()), {})
        if not isinstance(inner, Mapping):
            raise ArgumentError(
                "`variables` must be {collection: {module: {name: array}}}, but it is"
                f" one level short: {name!r} holds {outline(inner)}. Were params given"
                " without their collection? Write {'params': params, **others}."
            )


def _collections(variables: Mapping[str, Any], may_change: Any) -> dict[str, Collection]:
    """Returns the collections that `apply` begins with. Those that may change are copied."""
    collections: dict[str, Collection] = {}
    for name in {"params": None, "state": None, **variables}:
        bundle, changes = variables.get(name, {}), name in may_change
        collections[name] = Collection(
            name,
            copy_bundle(bundle) if changes else bundle,
            copy_bundle(bundle) if changes else None,
            creatable=changes and name != "params",
            writable=changes,
            given=name in variables,
        )
    return collections


def _updated(frame: Frame, variables: Mapping[str, Any], may_change: Any) -> Variables:
    """Returns the collections that could change, with all sown values."""
    updated = {
        name: collection.values
        for name, collection in frame.collections.items()
        if name in may_change
    }
    if frame.sown is not None:
        for name in frame.sown.values:
            if name in may_change:
                frame.sown.put_into(name, updated.setdefault(name, {}))
    return {name: bundle for name, bundle in updated.items() if bundle or name in variables}
