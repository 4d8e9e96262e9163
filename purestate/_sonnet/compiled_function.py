"""`Function`: a compiled function over variables that live outside."""

import copy
import functools
import weakref
from collections.abc import Callable
from typing import Any

import jax

from purestate._core.errors import JaxUsageError
from purestate._core.frame import Frame, ambient
from purestate._core.ledger import Ledger
from purestate._core.observer import Observer
from purestate._core.scope import Names
from purestate._core.trace_guard import is_compiled_inside
from purestate._lifted.lift_frame import Lifted, names_here
from purestate._lifted.remat import jit
from purestate._lifted.snapshot import (
    Snapshot,
    changes,
    entries,
    keep,
    merged,
    new_names,
    put,
    take_snapshot,
)
from purestate._sonnet.outside import OUTSIDE, paths_taken, run_outside, take_names
from purestate._sonnet.variable import is_variable

Place = tuple[str, str, str]


class _NotPassedInError(Exception):
    """A compiled function has read a variable that it was not given."""


class _Reads(Observer):
    """Sees which of the variables that there were before a run reads."""

    def __init__(self, existing: dict[str, Any]):
        self._existing = existing
        self.read_places: set[Place] = set()

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        if name in self._existing.get(collection, {}).get(path, ()):
            self.read_places.add((collection, path, name))
        return value


class _Constant:
    """An argument other than an array, such as True, "relu" or a module: part of the program."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Constant) or type(self.value) is not type(other.value):
            return False
        return self.value is other.value or bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


# A tree without leaves, so that JAX compiles again for each value.
jax.tree_util.register_pytree_node(_Constant, lambda held: ((), held), lambda held, _: held)


def _with_constants(tree: Any) -> Any:
    def held(leaf: Any) -> Any:
        is_number = isinstance(leaf, (int, float, complex)) and not isinstance(leaf, bool)
        is_array = hasattr(leaf, "dtype") or hasattr(leaf, "__jax_array__")
        return leaf if is_number or is_array or not _hashable(leaf) else _Constant(leaf)

    return jax.tree.map(held, tree, is_leaf=is_variable)


def _without_constants(tree: Any) -> Any:
    def is_held(leaf: Any) -> bool:
        return isinstance(leaf, _Constant)

    return jax.tree.map(lambda leaf: leaf.value if is_held(leaf) else leaf, tree, is_leaf=is_held)


def _hashable(leaf: Any) -> bool:
    try:
        hash(leaf)
    except TypeError:
        return False
    return True


class Function:
    """A compiled function over variables that live outside; made by `function`.

    In a class it is a method: each object has a compiled function of its own.

    Attributes:
      fun: the function.
      options: the options of `jax.jit`.
    """

    def __init__(self, fun: Callable[..., Any], options: dict[str, Any]):
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.options = options
        self._methods: dict[int, Function] = {}  # by the id of the object, while that lives
        self._compiled = jax.jit(self._pure, **options)
        self._used: set[Place] = set()
        self._missed: set[Place] = set()
        self._first = True

    def __get__(self, owner: Any, cls: type | None = None) -> "Function":
        if owner is None:
            return self
        if id(owner) not in self._methods:
            of = weakref.ref(owner)  # the compiled program does not keep the object

            @functools.wraps(self.fun)
            def bound(*args: Any, **kwargs: Any) -> Any:
                return self.fun(of(), *args, **kwargs)

            self._methods[id(owner)] = Function(bound, self.options)
            weakref.finalize(owner, self._methods.pop, id(owner)).atexit = False
        return self._methods[id(owner)]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Function":
        """Returns one of the copied method, if it is a method of the copied object."""
        return Function(copy.deepcopy(self.fun, memo), self.options)

    def __reduce__(self) -> Any:
        return Function, (self.fun, self.options)

    def _pure(self, before: Snapshot, /, *args: Any, **kwargs: Any) -> Any:
        """The function, from the variables that it uses to those that it changes."""
        frame = OUTSIDE.frame
        everything = take_snapshot(frame)
        reads = _Reads(everything.values)
        lifted = Lifted(self.fun, frame, fills=True)
        start = Snapshot(merged(everything.values, before.values), {}, before.keys)
        observers, frame.observers = frame.observers, (*frame.observers, reads)
        try:
            args, kwargs = _without_constants((args, kwargs))
            out, after, _ = lifted.run(start, *args, **kwargs)
        finally:
            frame.observers = observers
        self._missed = reads.read_places - self._used
        if self._first:
            # All that there is was given. Of what the function creates objects may stay in Python,
            # so such a run counts. Another one does it again with what it uses.
            again = not new_names(everything.values, after.values) and (
                len(reads.read_places) < len(entries(everything.values))
            )
        else:  # it would be a constant of the compiled program
            again = bool(self._missed)
        if again:
            raise _NotPassedInError
        return out, changes(start, after)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ambient.get()[0] and ambient.get()[0][-1] is not OUTSIDE.frame:
            return self._inside(args, kwargs)
        if is_compiled_inside(OUTSIDE.frame.home.trace):
            raise JaxUsageError(
                f"`{getattr(self.fun, '__name__', 'a function')}`, which `snt.function` compiles,"
                " is called inside jax.jit or another JAX transform that compiles. The values of"
                " its variables would become constants there. Use `snt.function` for the outer"
                " function as well."
            )
        return run_outside(self._call, *self._prepared(args, kwargs))

    def _prepared(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Returns arguments whose constants are part of the program."""
        static = self.options.get("static_argnames") or ()
        named = {static} if isinstance(static, str) else set(static)
        plain = {name: value for name, value in kwargs.items() if name in named}
        args, rest = _with_constants((args, {k: v for k, v in kwargs.items() if k not in named}))
        return args, {**rest, **plain}

    def _inside(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """Runs in a transformed function, as `ps.jit` does."""

        def run(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _without_constants((args, kwargs))
            return self.fun(*args, **kwargs)

        args, kwargs = self._prepared(args, kwargs)
        return jit(run, **self.options)(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        frame = OUTSIDE.frame
        undone: set[str] = set()
        while True:
            facts = (frame.ledger, frame.ledger.copy(), names_here(frame))
            self._missed = set()
            try:
                out, changed = self._compiled(self._given(frame), *args, **kwargs)
            except _NotPassedInError:
                self._first = False
                undone |= _restore(frame, *facts)
                self._used |= self._missed
            except Exception:
                take_names(frame, undone | _restore(frame, *facts))
                raise
            else:
                keep(frame, changed)
                take_names(frame, undone)
                self._first = False
                # What it has created is passed in from now on.
                self._used |= self._missed | {place[:3] for place in entries(changed.values)}
                return out

    def _given(self, frame: Frame) -> Snapshot:
        """Returns the variables that the function uses, as they are now; all at the first call."""
        values: dict[str, Any] = dict(take_snapshot(frame).values) if self._first else {}
        for collection, path, name in () if self._first else sorted(self._used):
            bundle = frame.collections[collection].values.get(path, {})
            if name in bundle:
                put(values, collection, path, name, bundle[name])
        source = frame.keys.source
        if source is not None:  # so that JAX always sees the same number of them
            source.reserve_up_to_full()
            source.split_due()
        return Snapshot(values, {}, None if source is None else source.state)


def _restore(frame: Frame, ledger: Ledger, before: Ledger, names: Names | None) -> set[str]:
    """Takes back the facts of a trace whose values are not kept.

    Returns:
      The paths of the modules that the trace has made. Who makes them again gets the same.
    """
    made = paths_taken(frame)
    for slot in Ledger.__slots__:
        setattr(ledger, slot, getattr(before, slot))
    frame.ledger = ledger
    frame.scope.names = names
    return made - paths_taken(frame)
