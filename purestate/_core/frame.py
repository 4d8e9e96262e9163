"""The frame: all that one run of `init` or `apply` knows, and how to find the running one."""

import itertools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from purestate._core.collection import Collection
from purestate._core.errors import FrameError
from purestate._core.layout import ByCollection, OneState
from purestate._core.ledger import Ledger
from purestate._core.observer import Observer, observing
from purestate._core.path import ROOT
from purestate._core.scope import GivenModules, Scope
from purestate._core.sown import Sown
from purestate._core.trace_guard import TraceState, current_trace_state, is_staging

_frame_ids = itertools.count()


class Home:
    """The JAX trace that a frame belongs to.

    Attributes:
      trace: compares equal as long as the same trace runs.
      staged: whether it writes a jaxpr, as under `jax.jit`, instead of computing at once.
    """

    __slots__ = ("staged", "trace")

    def __init__(self, trace: TraceState, staged: bool):
        self.trace = trace
        self.staged = staged


def current_home() -> Home:
    """Returns the JAX trace that runs now."""
    trace = current_trace_state()
    return Home(trace, is_staging(trace))


class FrameKeys:
    """What a frame draws its random keys from.

    Attributes:
      source: PRNGSequence, KeyStreams or PathKeys; None without a key.
      mode: the `rng_mode` of the transform, "sequence" or "path".
      home: the trace in which the innermost `with_rng` block began, since its keys end with that
        trace; None outside such a block.
      blocks: the `with_rng` blocks that are open, innermost last.
    """

    __slots__ = ("blocks", "home", "mode", "source")

    def __init__(self, source: Any, mode: str):
        self.source = source
        self.mode = mode
        self.home: TraceState | None = None
        self.blocks: list[Any] = []


class Creating:
    """The variable that is being created.

    Attributes:
      collection: the collection that it belongs to.
      path: the path of its module.
      name: its name within the module.
      drawn: how many keys its initializer has drawn.
    """

    __slots__ = ("collection", "drawn", "name", "path")

    def __init__(self, collection: str, path: str, name: str):
        self.collection = collection
        self.path = path
        self.name = name
        self.drawn = 0


class Elements:
    """A `ps.vmap`, `ps.shard_map` or `ps.scan` whose elements may have variables of their own.

    Attributes:
      own: `own(collection, path, name)` says whether each element has a variable of its own.
      index: `index()` returns the index of the running element, an int32 scalar. It makes the keys
        of such a variable differ from element to element.
    """

    __slots__ = ("index", "own")

    def __init__(self, own: Callable[[str, str, str], bool], index: Callable[[], Any]):
        self.own = own
        self.index = index


class Frame:
    """One run of `init` or `apply`.

    Attributes:
      collections: {name: Collection}; see `layout`.
      layout: which collection keeps a variable, what may change, and the errors about it.
      running_init: whether this is `init`.
      scope: the innermost scope, linked outwards.
      keys: the source of random keys.
      home: the JAX trace that the frame belongs to.
      creating: the variable that is being created; None most of the time.
      ledger: facts in Python that the run leaves, as opposed to values.
      sown: the values sown so far; None if nobody requested any.
      observers: they see reads, writes and draws; () in a plain run.
      elements: the enclosing mapped transforms whose elements may have variables of their own.
      mapped_axes: the mesh axes of the `ps.shard_map`s that run within.
      perturbed: whether `perturb` has variables here, though one state holds all collections.
      given: the modules that `apply` was given variables of; None in `init`.
      under: what the names of its modules begin with in the frame around it; "" if that is not
        known, as in the `apply` of a function that `ps.lift` has lifted.
      frame_id: counts the frames of the process.
      boundary: modules made by frames older than this one may not be used here; -1 allows all.
      boundary_within: the same, for frames that run within (see `lift`).
    """

    __slots__ = (
        "boundary",
        "boundary_within",
        "collections",
        "creating",
        "elements",
        "frame_id",
        "given",
        "home",
        "keys",
        "layout",
        "ledger",
        "mapped_axes",
        "observers",
        "perturbed",
        "running_init",
        "scope",
        "sown",
        "under",
    )

    def __init__(
        self,
        collections: dict[str, Collection],
        layout: OneState | ByCollection,
        keys: FrameKeys,
        *,
        running_init: bool,
    ):
        self.collections = collections
        self.layout = layout
        self.running_init = running_init
        self.scope = Scope(None, ROOT, "__call__", None)
        self.keys = keys
        self.home = current_home()
        self.creating: Creating | None = None
        self.ledger = Ledger()
        self.sown: Sown | None = None
        self.observers: tuple[Observer, ...] = ()
        self.elements: tuple[Elements, ...] = ()
        self.mapped_axes: tuple[Any, ...] = ()
        self.perturbed = layout.by_collection
        self.given: GivenModules | None = None
        self.under = ""
        self.frame_id = next(_frame_ids)
        self.boundary = -1
        self.boundary_within = -1
        if not running_init:
            names = layout.sowing()
            self.sown = Sown(names) if names != () else None
            self.given = GivenModules(kept.values for kept in collections.values())
        for observer in observing.get():
            observer.began(self)


# All that is ambient: the frames, outermost first, and the hooks, outermost first (see hooks.py).
# One variable holds both, since every module call needs both.
ambient: ContextVar[tuple[tuple[Frame, ...], tuple[Any, ...]]] = ContextVar(
    "purestate", default=((), ())
)


def no_frame(what: str) -> FrameError:
    """The error for `what` being used while no frame is active."""
    hint = ""
    if threading.current_thread() is not threading.main_thread():
        hint = (
            " A new thread does not see a run of another thread unless you pass on its context:"
            " `contextvars.copy_context().run(f)`."
        )
    return FrameError(
        f"{what} works only while a transformed function runs. Put the code into a function f, get"
        " a pure pair from it with `ps.transform(f)` or `ps.transform_with_state(f)`, and call its"
        f" `init` and `apply`.{hint}"
    )


def get_frame(what: str) -> Frame:
    """Returns the innermost active frame; without one, the error names `what`."""
    frames = ambient.get()[0]
    if not frames:
        raise no_frame(what)
    return frames[-1]


def full_path(frames: tuple[Frame, ...], path: str) -> str:
    """Returns a path in the innermost frame as the outermost knows it."""
    return "".join(frame.under for frame in frames) + path


def inside_transform() -> bool:
    """Whether a transformed function is running here."""
    return bool(ambient.get()[0])


# Hooks that outlive any block (see `hooks.add_lasting_hook`): outermost in every frame.
lasting_hooks: tuple[Any, ...] = ()


def with_lasting(hooks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns hooks with the lasting ones first, which makes them the outermost."""
    return lasting_hooks + tuple(hook for hook in hooks if hook not in lasting_hooks)


class ActiveFrame:
    """Makes a frame the innermost one for a `with` block."""

    __slots__ = ("frame", "token")

    def __init__(self, frame: Frame):
        self.frame = frame

    def __enter__(self) -> Frame:
        frames, hooks = ambient.get()
        if frames:
            frames[-1].ledger.inner_labels.append(self.frame.ledger.labels)
            self.frame.boundary = frames[-1].boundary_within
            self.frame.boundary_within = frames[-1].boundary_within
        if lasting_hooks:
            hooks = with_lasting(hooks)
        self.token = ambient.set(((*frames, self.frame), hooks))
        return self.frame

    def __exit__(self, exc_type: object, *rest: object) -> None:
        ambient.reset(self.token)
