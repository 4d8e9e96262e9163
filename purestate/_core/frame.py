"""The frame: all that one run of `init` or `apply` knows, and where the running one is found."""

import itertools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from purestate._core.collection import AllBut, Collection
from purestate._core.errors import CollectionError, FrameError
from purestate._core.path import ROOT
from purestate._core.trace_guard import TraceState, current_trace_state, is_staging

_frame_ids = itertools.count()


class Names:
    """The module names handed out in one scope."""

    __slots__ = ("counts", "prefix", "used")

    def __init__(
        self, prefix: str, used: dict[str, None] | None = None, counts: dict[str, int] | None = None
    ):
        self.prefix = prefix  # what the paths of modules made here start with
        self.used = {} if used is None else used  # dicts, since adding to one is no function call
        self.counts = {} if counts is None else counts  # path without number -> next free number

    def copy(self) -> "Names":
        return Names(self.prefix, self.used.copy(), self.counts.copy())


class Scope:
    """The module method that is running, and the module names handed out in it.

    Scopes are linked from the innermost outwards, so that entering and leaving one is two
    assignments. The names come with the first module made here; most scopes never have one.
    """

    __slots__ = ("method_name", "module", "names", "outer", "path")

    def __init__(self, module: Any, path: str | None, method_name: str, outer: "Scope | None"):
        self.module = module
        self.path = path  # of the module; None until its `__init__` has named it
        self.method_name = method_name
        self.outer = outer
        self.names: Names | None = None


watching: ContextVar[Any] = ContextVar("purestate_watching", default=None)
"""`watch(frame)` is called with each new frame: how `specs` and `capture_intermediates` look into a run."""


class Frame:
    """One run of `init` or `apply`: its collections, its keys, and the scope that is running."""

    __slots__ = (
        "asked",
        "at_end",
        "boundary",
        "boundary_within",
        "captures",
        "collections",
        "frame_id",
        "inner_labels",
        "key_blocks",
        "key_trace",
        "keys",
        "labels",
        "making",
        "mapped_axes",
        "mutable",
        "num_drawn",
        "perturbed",
        "recorder",
        "reducers",
        "running_init",
        "scope",
        "staging",
        "trace_state",
    )

    def __init__(
        self,
        collections: dict[str, Collection],
        keys: Any,
        *,
        running_init: bool,
        mutable: AllBut | tuple[str, ...] | None = None,
    ):
        self.collections = collections
        self.keys = keys  # PRNGSequence | KeyStreams | PathKeys | None
        self.key_blocks: list[Any] = []  # the `with_rng` blocks that are open, innermost last
        self.key_trace: TraceState | None = (
            None  # the trace that a `with_rng` block began in, whose keys end with it
        )
        self.running_init = running_init
        # Which collections may change, where each is kept by itself. None where one state holds all
        # of them; then the labels say to which a variable belongs, where it is not "state".
        self.mutable = mutable
        self.labels: dict[tuple[str, str], str] = {}
        self.inner_labels: list[
            dict[tuple[str, str], str]
        ] = []  # those of frames that ran within, for `lift`
        self.perturbed = (
            False  # whether perturbations are variables, though this frame has no collections
        )
        # names of collections that what is sown into is asked for, beside `mutable`
        self.captures: Any = ()
        self.asked: dict[
            tuple[str, str], Any
        ] = {}  # the dtype that each parameter was first asked for with
        # The variable whose first value is being computed, and how many keys that has drawn.
        self.making: list[Any] | None = None
        self.recorder: Any = None  # is told of every variable that is read or made
        # How values that are sown under one name go together, by collection, module and name.
        self.reducers: dict[tuple[str, str, str], Any] = {}
        self.num_drawn = 0  # how many keys have been drawn one by one, in frames within too
        self.mapped_axes: tuple[
            Any, ...
        ] = ()  # the mesh axes of the `ps.shard_map`s that run within
        self.scope = Scope(None, ROOT, "__call__", None)
        self.trace_state: TraceState = current_trace_state()
        self.staging = is_staging(self.trace_state)
        self.frame_id = next(_frame_ids)
        # Modules made by frames older than this one may not be used here, or in frames within (see
        # `lift`).
        self.boundary = -1
        self.boundary_within = -1
        self.at_end: list[Callable[[], None]] = []  # run when all went well
        watch = watching.get()
        if watch is not None:
            watch(self)


# All that is ambient: the frames, outermost first, and the hooks, outermost first (see hooks.py).
# One variable holds both, since every module call asks for both.
ambient: ContextVar[tuple[tuple[Frame, ...], tuple[Any, ...]]] = ContextVar(
    "purestate", default=((), ())
)


def no_frame(what: str) -> FrameError:
    """The error for `what` being used where no frame is active."""
    hint = ""
    if threading.current_thread() is not threading.main_thread():
        hint = (
            " A thread has no part in a run that goes on in another one, unless it is handed its"
            " context: `contextvars.copy_context().run(f)`."
        )
    return FrameError(
        f"{what} works only while a transformed function runs. Put the code into a function f, "
        "get a pure pair from it with `ps.transform(f)` or `ps.transform_with_state(f)`, and call "
        f"its `init` and `apply`.{hint}"
    )


def get_frame(what: str) -> Frame:
    """Returns the innermost active frame; `what` is named in the error if there is none."""
    frames = ambient.get()[0]
    if not frames:
        raise no_frame(what)
    return frames[-1]


def inside_transform() -> bool:
    """Whether a transformed function is running here."""
    return bool(ambient.get()[0])


# Hooks that outlive any block (see `hooks.add_lasting_hook`): outermost in every frame.
lasting_hooks: tuple[Any, ...] = ()


def with_lasting(hooks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns hooks with the lasting ones first, which makes them the outermost."""
    return lasting_hooks + tuple(hook for hook in hooks if hook not in lasting_hooks)


def collection_for(frame: Frame, name: str, path: str, variable: str) -> Collection:
    """Returns the collection that keeps `variable` of module `path`, which belongs to the collection `name`."""
    collections = frame.collections
    if frame.mutable is not None:
        if name not in collections:
            may_change = name in frame.mutable
            collections[name] = Collection(name, {}, {}, creatable=may_change, writable=may_change)
        return collections[name]
    if name != "state" and name in collections:
        return collections[name]
    state = collections["state"]
    label = frame.labels.get((path, variable))
    if label is None and name != "state":
        # In `init` whatever is there has a label, unless it is plain state.
        label = (
            "state"
            if frame.running_init and variable in (state.initial or {}).get(path, ())
            else name
        )
        frame.labels[path, variable] = label
    if label not in (None, name):
        raise CollectionError(
            f"{variable!r} of {path!r} is in the collection {label!r}, and was asked for in"
            f" {name!r}. Where one state holds all collections (ps.transform_with_state), a name"
            " stands once in a module: give one of them another name, or use"
            " ps.transform_with_collections."
        )
    return state


class ActiveFrame:
    """Makes a frame the innermost one for a `with` block."""

    __slots__ = ("frame", "token")

    def __init__(self, frame: Frame):
        self.frame = frame

    def __enter__(self) -> Frame:
        frames, hooks = ambient.get()
        if frames:
            frames[-1].inner_labels.append(self.frame.labels)
            self.frame.boundary = frames[-1].boundary_within
            self.frame.boundary_within = frames[-1].boundary_within
        if lasting_hooks:
            hooks = with_lasting(hooks)
        self.token = ambient.set(((*frames, self.frame), hooks))
        return self.frame

    def __exit__(self, exc_type: object, *rest: object) -> None:
        ambient.reset(self.token)
