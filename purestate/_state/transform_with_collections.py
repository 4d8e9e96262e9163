"""`transform_with_collections`: a pure pair over any number of collections, of which `apply` says which may change."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from purestate._core.collection import AllBut, Bundle, Collection, copy_bundle
from purestate._core.errors import ArgumentError
from purestate._core.frame import ActiveFrame, Frame
from purestate._core.outlines import outline
from purestate._core.transform import (
    call,
    check_mapping,
    check_not_compiled,
    checked_first,
    new_keys,
    or_any,
    tell_signature,
)

Variables = dict[str, Bundle]
"""`{collection: {module: {name: array}}}`."""

Mutable = bool | str | Iterable[str] | AllBut
"""Which collections may change: all, none, one, some, or all but some."""

_APPLY = "apply(variables, rng, ...)"
_ALL = AllBut()


class TransformedWithCollections(NamedTuple):
    """A pure pair over collections; see `transform_with_collections`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> variables`.
      apply: `apply(variables, rng, *args, mutable=False, **kwargs) -> out`, or `(out, updated)`.
    """

    init: Callable[..., Variables]
    apply: Callable[..., Any]


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
            "`mutable` has to be a bool, the name of a collection, a list of names, or"
            f" ps.AllBut(names), but it is or holds {outline(wrong[0])}."
        )
    return names


def transform_with_collections(
    f: Callable[..., Any], *, rng_mode: str = "sequence", strict: bool = False
) -> TransformedWithCollections:
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
      strict: whether `apply` first checks what it is given; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> {"params": ..., "batch_stats": ..., ...}`, each collection
      `{module: {name: array}}`, all with their first values. And `apply(variables, rng, *args,
        mutable=False, **kwargs)`,
      which returns `out`, or, where something is mutable, `(out, updated)` with the collections
        that are. `mutable` is True,
      False, a name, a list of names, or `AllBut(names)`. What is not mutable can be read, but
        neither set nor made.

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function; from `apply`, `variables` or `mutable` is not of that
        form.
      ImmutableCollectionError: from `apply`, if a variable is set in a collection that is not
        mutable.
    """
    check_not_compiled(f)

    def init(rng: Any, *args: Any, **kwargs: Any) -> Variables:
        frame = Frame(
            {
                name: Collection(name, {}, {}, creatable=True, writable=True)
                for name in ("params", "state")
            },
            new_keys(rng, "init(rng, ...)", (rng,), rng_mode),
            running_init=True,
            mutable=_ALL,
        )
        with ActiveFrame(frame):
            call(f, args, kwargs)
            for check in frame.at_end:
                check()
        kept = {name: collection.initial or {} for name, collection in frame.collections.items()}
        return {name: bundle for name, bundle in kept.items() if bundle or name == "params"}

    def apply(variables: Any, rng: Any, *args: Any, mutable: Mutable = False, **kwargs: Any) -> Any:
        variables = check_mapping("variables", variables, _APPLY, (variables, rng))
        for name, bundle in variables.items():
            if not isinstance(bundle, Mapping):
                raise ArgumentError(
                    "`variables` has to be {collection: {module: {name: array}}}, but its"
                    f" {name!r} is {outline(bundle)}. Are the arguments in this order? {_APPLY}"
                )
            inner = next(iter(bundle.values()), {})
            if not isinstance(inner, Mapping):
                raise ArgumentError(
                    "`variables` has to be {collection: {module: {name: array}}}, but it is"
                    f" one level short: {name!r} holds {outline(inner)}. Were params given without"
                    " their collection? Write {'params': params, **others}."
                )
        may_change = _as_container(mutable)
        collections: dict[str, Collection] = {}
        for name in {"params": None, "state": None, **variables}:
            bundle, changes = variables.get(name, {}), name in may_change
            collections[name] = Collection(
                name,
                copy_bundle(bundle) if changes else bundle,
                copy_bundle(bundle) if changes else None,
                creatable=changes and name != "params",
                writable=changes,
            )
        frame = Frame(
            collections,
            new_keys(rng, _APPLY, (variables, rng), rng_mode),
            running_init=False,
            mutable=may_change,
        )
        with ActiveFrame(frame):
            out = call(f, args, kwargs)
            for check in frame.at_end:
                check()
        if not may_change and not isinstance(may_change, AllBut):
            return out
        updated = {
            name: collection.values
            for name, collection in collections.items()
            if name in may_change
        }
        return out, {
            name: bundle for name, bundle in updated.items() if bundle or name in variables
        }

    tell_signature(init, ("rng",), f, lambda _: Variables)
    if strict:
        apply = checked_first(apply)
    tell_signature(apply, ("variables", "rng"), f, or_any, mutable=False)
    return TransformedWithCollections(init, apply)
