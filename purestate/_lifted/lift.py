"""`lift`: the variables of a pure pair, kept among those of the function that uses it."""

from collections.abc import Callable, Mapping
from typing import Any

from purestate._core import trace_guard
from purestate._core.collection import Bundle, Collection
from purestate._core.errors import LiftError, NonEmptyStateError, kind_of
from purestate._core.frame import Frame, get_frame
from purestate._core.module import Module
from purestate._core.path import outer_path
from purestate._core.sown import INTERMEDIATES
from purestate._core.variable_checks import immutable

_InitFn = Callable[..., Any]


class LiftingModule(Module):
    """Stands for an inner function: its variables are kept under `prefix_name`."""

    _stands_in = True

    def __init__(
        self,
        init_fn: _InitFn,
        transparent: bool = False,
        allow_reuse: bool = False,
        name: str = "lifted",
    ):
        super().__init__(name=name)
        self._init_fn = init_fn
        # Read by hooks of the inner function, to tell them the full names.
        self.prefix_name = outer_path(self.module_name) if transparent else self.module_name
        self._allow_reuse = allow_reuse

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Bundle, Bundle]:
        frame = get_frame("A lifted function")
        params, state = frame.collections["params"], frame.collections["state"]
        prefix = f"{self.prefix_name}/" if self.prefix_name else ""
        # In `apply` the variables are those that `init` put under the prefix. The inner function
        # does not run here: its caller passes the returned variables to the inner `apply`.
        if not frame.running_init:
            return _below(params.values, prefix), _state_below(frame, prefix)
        inner_params, inner_state = self._init_fn(*args, **kwargs)
        for collection, inner in ((params, inner_params), (state, inner_state)):
            if not self._allow_reuse:
                _check_no_reuse(collection, inner or {}, prefix)
            keep_variables(frame, collection, inner or {}, prefix, first=True)
        return inner_params, inner_state


def _below(bundle: Mapping[str, Any], prefix: str) -> Bundle:
    return {
        path[len(prefix) :]: dict(variables)
        for path, variables in bundle.items()
        if path.startswith(prefix)
    }


def _state_below(frame: Frame, prefix: str) -> Bundle:
    """Returns the variables below a prefix, but the parameters, as state of an inner function."""
    found: Bundle = {}
    for name, collection in frame.collections.items():
        if name not in ("params", INTERMEDIATES):
            for path, variables in _below(collection.values, prefix).items():
                found.setdefault(path, {}).update(variables)
    return found


def _label_of(frame: Frame, path: str, name: str) -> str:
    """The collection that a variable of an inner function said it belongs to."""
    # The same path may be lifted more than once. The last to run is the one that asks.
    inner = frame.ledger.inner_labels
    return next(
        (labels[path, name] for labels in reversed(inner) if (path, name) in labels),
        "state",
    )


def _check_no_reuse(collection: Collection, inner: Mapping[str, Any], prefix: str) -> None:
    taken = [prefix + path for path in inner if prefix + path in collection.values]
    if taken:
        raise LiftError(
            f"Lifting would put {', '.join(map(repr, taken))} into the {collection.name}, where"
            " another module of that name is already: the two would share their variables. Give"
            " one of them another name; if sharing is meant, pass allow_reuse=True."
        )


def keep_variables(
    frame: Frame,
    collection: Collection,
    inner: Mapping[str, Any],
    prefix: str,
    *,
    first: bool = False,
) -> None:
    """Puts the variables of an inner function into a collection, under a prefix."""
    for path, variables in inner.items():
        if not isinstance(variables, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LiftError(
                f"What is lifted has to return {{module: {{name: array}}}}, but at {path!r} it"
                f" returned {kind_of(variables)}."
            )
        what = f"Keeping the variables of a lifted function in {collection.name}"
        trace_guard.check_outlives_trace(variables, frame.home.trace, what, prefix + path)
        for name, value in variables.items():
            kept = collection
            if collection.name == "state":
                kept = frame.layout.store(frame, _label_of(frame, path, name), prefix + path, name)
            if not (kept.writable or kept.creatable):
                # The inner `apply` returns all of its state. What it has not set is the very same
                # array, and may be immutable.
                if kept.values.get(prefix + path, {}).get(name) is value:
                    continue
                raise immutable(frame, kept.name, prefix + path, name)
            if prefix + path not in kept.own:
                kept.make_own(prefix + path)
            kept.values[prefix + path][name] = value
            if kept.initial is not None:
                initial = kept.initial.setdefault(prefix + path, {})
                # `init` returns the values as first created, also if an update follows at once.
                if first or name not in initial:
                    initial[name] = value


class LiftWithStateUpdater:
    """Takes the state of a lifted function back; see `lift_with_state`.

    Call one of its methods, once, before `init` or `apply` ends.

    Args:
      name: the path that the inner function's modules are kept under; None for the top.
    """

    __slots__ = ("_frame", "_name")

    def __init__(self, name: str | None):
        frame = get_frame("`LiftWithStateUpdater`")
        self._name = name
        self._frame = frame
        # In the ledger, since a function that is only looked at does not use it up.
        frame.ledger.updaters[id(self)] = self

    @property
    def prefix(self) -> str:
        """What the paths of the inner function's modules begin with."""
        return f"{self._name}/" if self._name else ""

    def assert_used(self) -> None:
        """Raises unless `update` or `ignore_update` was called.

        Raises:
          LiftError: neither was.
        """
        if id(self) in self._frame.ledger.updaters:
            raise LiftError(
                f"The state of the function lifted as {self._name!r} was not taken back. Call"
                " `updater.update(state)` with the state that its `apply` returned, or"
                " `updater.ignore_update()` if it is to stay as it was."
            )

    def _use(self) -> Frame:
        updaters = self._frame.ledger.updaters
        if id(self) not in updaters:
            raise LiftError(
                f"The updater of the function lifted as {self._name!r} was used already; it can be"
                " used once."
            )
        # An updater kept from `init` would write to a frame that has ended, or that of another
        # call.
        frame = get_frame("`updater.update`")
        if frame is not self._frame:
            raise LiftError(
                f"The updater of the function lifted as {self._name!r} belongs to another run of"
                " init or apply. Call `lift_with_state` and its updater in the same one."
            )
        del updaters[id(self)]
        return frame

    def ignore_update(self) -> None:
        """Leaves the state as it was.

        Raises:
          LiftError: the updater was used already, or belongs to another run.
        """
        self._use()

    def update(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes over the state that the inner `apply` returned.

        Args:
          state: `{module: {name: value}}`.

        Raises:
          LiftError: the updater was used already, or belongs to another run.
        """
        frame = self._use()
        keep_variables(frame, frame.collections["state"], state, self.prefix)


def lift_with_state(
    init_fn: _InitFn, *, allow_reuse: bool = False, name: str = "lifted"
) -> tuple[Callable[..., tuple[Bundle, Bundle]], LiftWithStateUpdater]:
    """Keeps the parameters and state of an inner pair among those of the function around it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> inner = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, True))
    >>> def outer(x):
    ...     variables, updater = ps.lift_with_state(inner.init, name="inner")
    ...     params, state = variables(ps.maybe_next_rng_key(), x)
    ...     out, state = inner.apply(params, state, None, x)
    ...     updater.update(state)
    ...     return out
    >>> params, state = ps.transform_with_state(outer).init(None, jnp.ones([2, 1]))
    >>> list(params), list(state)
    (['inner/batch_norm'], ['inner/batch_norm/~/mean_ema', 'inner/batch_norm/~/var_ema'])

    Args:
      init_fn: the inner `init(rng, *args) -> (params, state)`.
      allow_reuse: whether names that are taken may be shared.
      name: what to keep the inner variables under.

    Returns:
      A function with the arguments of `init_fn`, which in `init` makes the inner variables and in
      `apply` finds them, and an updater for the state that the inner `apply` returns.

    Raises:
      FrameError: used outside a transformed function.
      LiftError: names are taken; or, when the run ends, the updater was not used.
    """
    get_frame("`ps.lift_with_state`")
    module = LiftingModule(init_fn, allow_reuse=allow_reuse, name=name)
    return _function(module), LiftWithStateUpdater(module.prefix_name or None)


def transparent_lift_with_state(
    init_fn: _InitFn, *, allow_reuse: bool = False
) -> tuple[Callable[..., tuple[Bundle, Bundle]], LiftWithStateUpdater]:
    """Like `lift_with_state`, with the inner variables under no name of their own.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> inner = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    >>> def outer(x):
    ...     variables, updater = ps.transparent_lift_with_state(inner.init)
    ...     updater.ignore_update()
    ...     return inner.apply(*variables(ps.maybe_next_rng_key(), x), None, x)[0]
    >>> list(ps.transform(outer).init(jax.random.key(0), jnp.ones([2, 1])))
    ['linear']

    Args:
      init_fn: the inner `init(rng, *args) -> (params, state)`.
      allow_reuse: whether names that are taken may be shared.

    Returns:
      See `lift_with_state`.

    Raises:
      FrameError: used outside a transformed function.
      LiftError: names are taken; or, when the run ends, the updater was not used.
    """
    get_frame("`ps.transparent_lift_with_state`")
    module = LiftingModule(init_fn, transparent=True, allow_reuse=allow_reuse)
    return _function(module), LiftWithStateUpdater(module.prefix_name or None)


def _function(module: LiftingModule) -> Callable[..., tuple[Bundle, Bundle]]:
    return lambda *args, **kwargs: module(*args, **kwargs)


def _with_state(init_fn: _InitFn) -> _InitFn:
    def init(*args: Any, **kwargs: Any) -> tuple[Any, Bundle]:
        params = init_fn(*args, **kwargs)
        if not isinstance(params, Mapping):
            raise NonEmptyStateError(
                "`ps.lift` takes the init of a pair without state (`ps.transform`), which returns"
                " params alone. For one with state use `ps.lift_with_state`."
            )
        return params, {}

    return init


def lift(
    init_fn: _InitFn, *, allow_reuse: bool = False, name: str = "lifted"
) -> Callable[..., Bundle]:
    """Keeps the parameters of an inner pair among those of the function around it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> inner = ps.transform(lambda x: ps.Linear(2)(x))
    >>> def outer(x):
    ...     params = ps.lift(inner.init, name="inner")(ps.maybe_next_rng_key(), x)
    ...     return jax.vmap(inner.apply, in_axes=(None, None, 0))(params, None, x)
    >>> list(ps.transform(outer).init(jax.random.key(0), jnp.ones([2, 1])))
    ['inner/linear']

    Args:
      init_fn: the inner `init(rng, *args) -> params`.
      allow_reuse: whether names that are taken may be shared.
      name: what to keep the inner parameters under.

    Returns:
      A function with the arguments of `init_fn`, which in `init` makes the inner parameters and in
      `apply` finds them.

    Raises:
      FrameError: used outside a transformed function.
      LiftError: names are taken.
      NonEmptyStateError: the inner function has state.
    """
    get_frame("`ps.lift`")
    variables, updater = lift_with_state(_with_state(init_fn), allow_reuse=allow_reuse, name=name)
    # There is no state to take back, but every updater must be used.
    updater.ignore_update()
    return lambda *args, **kwargs: variables(*args, **kwargs)[0]


def transparent_lift(init_fn: _InitFn, *, allow_reuse: bool = False) -> Callable[..., Bundle]:
    """Like `lift`, with the inner parameters under no name of their own.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> inner = ps.transform(lambda x: ps.Linear(2)(x))
    >>> def outer(x):
    ...     params = ps.transparent_lift(inner.init)(ps.maybe_next_rng_key(), x)
    ...     return inner.apply(params, None, x)
    >>> list(ps.transform(outer).init(jax.random.key(0), jnp.ones([2, 1])))
    ['linear']

    Args:
      init_fn: the inner `init(rng, *args) -> params`.
      allow_reuse: whether names that are taken may be shared.

    Returns:
      See `lift`.

    Raises:
      FrameError: used outside a transformed function.
      LiftError: names are taken.
      ModuleError: the inner function uses a module that was made outside it.
      NonEmptyStateError: the inner function has state.
    """
    frame = get_frame("`ps.transparent_lift`")
    module = LiftingModule(_with_state(init_fn), transparent=True, allow_reuse=allow_reuse)

    def params(*args: Any, **kwargs: Any) -> Bundle:
        before = frame.boundary_within
        frame.boundary_within = (
            frame.frame_id + 1
        )  # what was made in this frame is out of bounds within
        try:
            return module(*args, **kwargs)[0]
        finally:
            frame.boundary_within = before

    return params
