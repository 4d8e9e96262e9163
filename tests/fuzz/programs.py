"""Random programs over modules, state, keys and JAX transforms, as plain data, and what runs one in either library.

A program is `(mode, key, steps)`; a step is a tuple, its kind first, bodies as tuples of steps. Each step takes `[2, 3]` to
`[2, 3]`. `outcome(program, library)` runs `init`, and `apply` twice with the state that came back.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import purestate
from tests.fuzz.evaluate import traced_and_evaluated

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)

# Run eagerly, each loop is compiled anew, which takes as long as twenty programs; under jit the whole program is.
MODES = ("eager", "eager", "eager", "trace")
MODES_WITH_LOOPS = ("trace",) * 39 + ("eager",)
KEYS = ("raw", "typed", "typed", "int")
NAMES = (None, None, None, None, "a", "b", "net", "linear", "net_1", "l_100")
CLASS_NAMES = ("Net", "Block2", "LinearNorm", "MLP_1")
WORDS = ("w", "b", "count")

# name: (shape, dtype, initializer)
PARAMETERS: dict[str, tuple[tuple[int, ...], Any, Callable[[Any], Any]]] = {
    "zeros": ((3,), jnp.float32, lambda L: jnp.zeros),
    "normal": ((3,), jnp.float32, lambda L: L.initializers.RandomNormal()),
    "scalar": ((), jnp.float32, lambda L: L.initializers.Constant(0.5)),
    "truncated": ((1, 3), jnp.bfloat16, lambda L: L.initializers.TruncatedNormal(0.1)),
    "variance": (
        (1, 3),
        jnp.float32,
        lambda L: L.initializers.VarianceScaling(1.0, "fan_avg", "uniform"),
    ),
    "int": ((3,), jnp.int32, lambda L: jnp.ones),
    "none": ((3,), jnp.float32, lambda L: None),
}
USUAL_PARAMETERS = tuple(sorted(PARAMETERS.keys() - {"none"}))
STATES = ("read", "write", "read, write", "write, read", "write twice")
DRAWS = ("next", "next twice", "keys", "reserve", "maybe", "with_rng", "replace")
LAYERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda L, name, x: jnp.tanh(L.Linear(3, name=name)(x)),
    "no bias": lambda L, name, x: L.Linear(
        3, with_bias=False, w_init=L.initializers.Constant(0.3), name=name
    )(x),
    "shared": lambda L, name, x: (lambda layer: layer(layer(x)))(L.Linear(3, name=name)),
    "batch_norm": lambda L, name, x: L.BatchNorm(True, True, 0.9, name=name)(x, is_training=True),
    "layer_norm": lambda L, name, x: L.LayerNorm(-1, True, True, name=name)(x),
    "conv": lambda L, name, x: L.Conv1D(3, 2, name=name)(x),
    "mlp": lambda L, name, x: L.nets.MLP([3, 3], name=name)(x),
    "sequential": lambda L, name, x: L.Sequential([L.Linear(3, name=name), jnp.tanh])(x),
    "gru": lambda L, name, x: L.GRU(3, name=name)(x, jnp.ones([2, 3]))[0],
    "bias": lambda L, name, x: L.Bias(b_init=L.initializers.RandomNormal(), name=name)(x),
    "ema": lambda L, name, x: L.ExponentialMovingAverage(0.5, name=name)(x),
    "dropout": lambda L, name, x: L.dropout(L.next_rng_key(), 0.5, x),
}
USUAL_LAYERS = (*LAYERS, "linear", "linear", "linear", "mlp", "batch_norm")
USES = (
    "once",
    "twice",
    "two",
    "method",
    "methods",
    "transparent",
    "returned",
    "passed",
    "property",
    "name_like",
    "subclass",
    "dataclass",
)
LIFTED = (
    "remat",
    "vmap",
    "vmap split",
    "vmap split in init",
    "scan",
    "scan xs",
    "scan reverse",
    "scan one",
    "scan none",
    "map",
    "fori",
    "while",
    "grad",
    "value_and_grad",
    "layer_stack",
    "eval_shape",
    "optimize_rng_use",
    "to_module",
    "lift",
    "transparent_lift",
)
HOWS = ("function", "function", "module", "again")
HOOKS = ("getter", "state getter", "creator", "state creator", "setter", "intercept")
PREDICATES = ("true", "false", "data")
SCOPES = ("a", "net", "net/b", "linear_1")
RARELY = (False,) * 30 + (True,)
LEAVES = ("layer",) * 4 + ("param",) * 2 + ("state", "draw", "look")
# A plain JAX transform around side effects is mostly refused, so there are fewer of them.
WRAPPERS = (
    ("module",) * 5
    + ("lifted",) * 5
    + ("branches", "scope", "plain", "hook", "hook", "inner", "attempt")
)
KINDS = LEAVES * 2 + WRAPPERS * 2


Choose = Callable[[Any], Any]
"""Takes one of a sequence: what hypothesis draws, or a random number generator."""


def make_program(choose: Choose, modes: tuple[str, ...] = ()) -> Any:
    """Makes a program out of choices."""
    key, steps = choose(KEYS), _body(choose, depth=choose((1, 2, 2, 3)))
    return choose(modes or (MODES_WITH_LOOPS if _has_loops(steps) else MODES)), key, steps


@st.composite
def programs(draw: Any, modes: tuple[str, ...] = ()) -> Any:
    """The strategy of all programs."""
    return make_program(lambda options: draw(st.sampled_from(options)), modes)


def _has_loops(steps: Any) -> bool:
    """Whether XLA compiles something of what runs eagerly."""
    return any(
        word in str(steps)
        for word in ("'branches'", "'scan", "'map'", "'fori'", "'while'", "'layer_stack'", "'jit'")
    )


def _body(choose: Choose, depth: int) -> Any:
    return tuple(_step(choose, depth) for _ in range(choose((1, 1, 2, 3) if depth else (1, 1, 2))))


def _step(choose: Choose, depth: int) -> Any:
    kind = choose(KINDS if depth else LEAVES)
    bodies = lambda: _body(choose, depth - 1)
    if kind == "layer":
        return kind, choose(USUAL_LAYERS), choose(NAMES)
    if kind == "param":
        # Now and then one name with several shapes.
        return (
            (kind, choose(tuple(PARAMETERS)), choose(WORDS))
            if choose(RARELY)
            else (kind, choose(USUAL_PARAMETERS), None)
        )
    if kind == "state":
        return kind, "unset" if choose(RARELY) else choose(STATES), choose(WORDS)
    if kind == "draw":
        return kind, choose(DRAWS)
    if kind == "look":
        return (kind,)
    if kind == "module":
        inner = _body(choose, 0) if choose((False, False, True)) else ()
        return kind, choose(USES), choose(CLASS_NAMES), choose(NAMES), inner, bodies()
    if kind == "scope":
        return kind, choose(SCOPES), bodies()
    if kind == "lifted":
        return kind, choose(LIFTED), choose(HOWS), bodies()
    if kind == "branches":
        return kind, choose(("cond", "switch")), choose(PREDICATES), (bodies(), bodies())
    if kind == "plain":
        return kind, choose(tuple(PLAIN_JAX)), bodies()
    if kind == "hook":
        return kind, choose(HOOKS), bodies()
    return kind, bodies()  # "inner", "attempt"


def features(program: Any) -> set[str]:
    """What a program has: the kinds of its steps, and how deep they nest."""
    mode, key, steps = program
    found = {f"mode {mode}", f"key {key}"}

    def visit(steps: Any, depth: int, around: tuple[str, ...]) -> None:
        found.add(f"depth {depth}")
        for kind, *rest in steps:
            words = " ".join(
                [
                    kind,
                    *(
                        str(rest[i])
                        for i in range(1 if kind != "lifted" else 2)
                        if rest and _is_word(rest[i])
                    ),
                ]
            )
            found.add(words)
            if kind in ("lifted", "branches", "plain") and any(
                k in ("lifted", "branches", "plain") for k in around
            ):
                found.add("transform in transform")
            if kind in ("layer", "module") and any(
                k in ("lifted", "branches", "plain") for k in around
            ):
                found.add("module in transform")
            for part in rest:
                for body in part if kind == "branches" and isinstance(part, tuple) else [part]:
                    if isinstance(body, tuple):
                        visit(body, depth + 1, (*around, kind))

    visit(steps, 0, ())
    return found


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


class _Stop(Exception):
    """What a program raises and catches itself."""


@dataclasses.dataclass
class Outcome:
    """What came of a program. Steps that make modules are known by where they stand in it, their site.

    Attributes:
      error: what was raised, if anything, and when: "init" or "apply".
      results: by name, trees of arrays.
      order: names of the variables in the order of the dicts.
      log: what the program saw on its way.
      paths: `{site: path}` of the modules.
      leaks: what a plain JAX transform has left in the frame that dies with it.
      warned: types of the warnings of purestate.
    """

    error: tuple[str, Exception] | None = None
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    order: list[Any] = dataclasses.field(default_factory=list)
    log: list[Any] = dataclasses.field(default_factory=list)
    paths: dict[str, str] = dataclasses.field(default_factory=dict)
    leaks: set[str] = dataclasses.field(default_factory=set)
    warned: set[str] = dataclasses.field(default_factory=set)


def outcome(
    program: Any,
    library: Any,
    *,
    written_out: bool = False,
    plainly: bool = False,
    given: Callable[[Outcome], Any] | None = None,
) -> Outcome:
    """Runs a program: `init`, and `apply` twice.

    Args:
      program: the program.
      library: haiku or purestate.
      written_out: whether each module gets a path that is its own, by `force_name`, `cond` runs all branches in `init`, and
        `optimize_rng_use` is left out: how one writes for dm-haiku what it would otherwise mix up or refuse.
      plainly: whether functions are called just so in place of being transformed, which tells the names that their modules
        should have; `init` alone.
      given: returns the variables that `apply` gets in place of those of `init`.

    Returns:
      What came of it.
    """
    mode, kind, steps = program
    result = Outcome()
    run = _Run(library, result, written_out, plainly)

    def forward(x: Any) -> Any:
        return run.steps(steps, "", x)

    f = library.transform_with_state(forward)
    when = "init"

    def named(*trees: Any) -> None:
        result.order.append(
            [[(module, tuple(bundle)) for module, bundle in tree.items()] for tree in trees]
        )

    def init(key: Any, x: Any) -> Any:
        params, state = f.init(key, x)
        named(params, state)
        return params, state

    def apply(params: Any, state: Any, key: Any, x: Any) -> Any:
        out, state = f.apply(params, state, key, x)
        named(state)
        return out, state

    wrap = {"eager": lambda f: f, "jit": jax.jit, "trace": traced_and_evaluated}[mode]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        init, apply = wrap(init), wrap(apply)
        try:
            params, state = init(_key(kind, 0), X)
            result.results["init"] = params, state
            if plainly:
                return result
            if given is not None:
                params, state = given(result)
            when = "apply"
            for i in range(2):
                out, state = apply(params, state, _key(kind, i + 1), X * (i + 1))
                result.results[f"apply {i}"] = out, state
        except Exception as error:
            result.error = (when, error)
    result.warned = {
        type(w.message).__name__
        for w in caught
        if isinstance(w.message, purestate.errors.PurestateWarning)
    }
    return result


def _key(kind: str, seed: int) -> Any:
    return {
        "raw": jax.random.PRNGKey,
        "typed": jax.random.key,
        "int": lambda seed: np.int32(seed + 7),
    }[kind](seed)


class _Run:
    """A program while it runs."""

    def __init__(self, library: Any, result: Outcome, written_out: bool, plainly: bool):
        self.L = library
        self.result = result
        self.written_out = written_out
        self.plainly = plainly
        self.frames: list[
            str
        ] = []  # what paths begin with in the transforms within transforms that run

    def steps(self, steps: Any, at: str, x: Any) -> Any:
        for i, (kind, *rest) in enumerate(steps):
            x = getattr(self, "step_" + kind)(x, f"{at}_{i}", *rest)
        return x

    def name(self, at: str, name: str | None) -> Any:
        return self.L.force_name("site" + at) if self.written_out else name

    def note(self, at: str, module: Any) -> Any:
        self.note_path(at, module.module_name)
        return module

    def note_path(self, at: str, path: str) -> None:
        self.result.paths[at] = "".join(self.frames) + path

    # Leaves.

    def step_layer(self, x: Any, at: str, which: str, name: Any) -> Any:
        with self.noting(at):
            return LAYERS[which](self.L, self.name(at, name), x).astype(x.dtype)

    @contextlib.contextmanager
    def noting(self, at: str) -> Any:
        """Notes the first module that is made in the block."""
        made: list[Any] = []

        def note(next_f: Any, args: Any, kwargs: Any, context: Any) -> Any:
            first = context.method_name == "__init__" and not made
            if first:
                made.append(context.module)
            out = next_f(*args, **kwargs)
            if first:
                self.note(at, context.module)
            return out

        with self.L.intercept_methods(note):
            yield

    def step_param(self, x: Any, at: str, which: str, name: str | None) -> Any:
        shape, dtype, init = PARAMETERS[which]
        return x + self.L.get_parameter(name or which, shape, dtype, init=init(self.L)).astype(
            x.dtype
        )

    def step_state(self, x: Any, at: str, order: str, name: str) -> Any:
        get = lambda: self.L.get_state(name, [3], init=jnp.ones)
        if order == "read":
            return x * get()
        if order == "write":
            self.L.set_state(name, x.mean(0))
        elif order == "read, write":
            old = get()
            self.L.set_state(name, old * 0.5 + x.mean(0))
            return x + old
        elif order == "write, read":
            self.L.set_state(name, x.max(0))
            return x + get()
        elif order == "write twice":
            self.L.set_state(name, get() + 1)
            self.L.set_state(name, get() * 2)
        elif order == "unset":
            return x + self.L.get_state(name)
        return x

    def step_draw(self, x: Any, at: str, how: str) -> Any:
        L = self.L
        key: Any = None
        if how == "next":
            key = L.next_rng_key()
        elif how == "next twice":
            L.next_rng_key()
            key = L.next_rng_key()
        elif how == "keys":
            key = L.next_rng_keys(3)[2]
        elif how == "reserve":
            L.reserve_rng_keys(2)
            key = L.next_rng_key()
        elif how == "maybe":
            key = L.maybe_next_rng_key()
        elif how == "with_rng":
            with L.with_rng(L.next_rng_key()):
                key = L.next_rng_key()
        elif how == "replace":
            before = L.maybe_get_rng_sequence_state()
            L.next_rng_key()
            L.replace_rng_sequence_state(before)
            key = L.next_rng_key()
        return x + jax.random.normal(key, x.shape)

    def step_look(self, x: Any, at: str) -> Any:
        """Notes what there is so far."""
        L = self.L
        names = lambda tree: [(module, tuple(sorted(bundle))) for module, bundle in tree.items()]
        self.result.log.append(
            (
                L.current_name(),
                L.running_init(),
                *(
                    sorted(names(tree))
                    for tree in (L.get_params(), L.get_current_state(), L.get_initial_state())
                ),
            )
        )
        return x

    # Modules.

    def step_module(
        self, x: Any, at: str, use: str, class_name: str, name: Any, inner: Any, body: Any
    ) -> Any:
        cls = self.module_class(use, class_name, inner, body)

        def make(at: str) -> Any:
            return self.note(at, cls(at, name=self.name(at, name)))

        module = make(at)
        if use == "twice":
            return module(module(x))
        if use == "two":
            return module(x) + make(at + "x")(x)
        if use in ("method", "name_like"):
            return module.encode(x)
        if use == "methods":
            return module.encode(module(x)) + module.encode(x)
        if use == "returned":
            return module.make(x)(x)
        if use == "passed":
            outer = self.module_class("passed to", "Outer", (), (), given=module)
            return self.note(at + "o", outer(at + "o", name=self.name(at + "o", None)))(x)
        if use == "property":
            return module(x) + module.scale
        return module(x)

    def module_class(
        self, use: str, class_name: str, inner: Any, body: Any, given: Any = None
    ) -> Any:
        """Makes a class; a module knows its site, so that those made in it have sites of their own."""
        run, L = self, self.L

        def __init__(self: Any, at: str, name: Any = None) -> None:
            L.Module.__init__(self, name=name)
            self.at = at
            self.made = run.steps(inner, at + "i", jnp.ones([2, 3])) if inner else 0.0

        def __call__(self: Any, x: Any) -> Any:
            made = getattr(self, "made", 0.0)
            return given(x) * 2 if given is not None else run.steps(body, self.at + "c", x + made)

        def encode(self: Any, x: Any) -> Any:
            x = run.note(self.at + "e", L.Linear(3, name=run.name(self.at + "e", None)))(x)
            return x + run.steps(body, self.at + "b", x) if use == "name_like" else self(x)

        def make(self: Any, x: Any) -> Any:
            return run.note(self.at + "m", L.Linear(3, name=run.name(self.at + "m", "linear")))

        def scale(self: Any) -> Any:
            return L.get_parameter("scale", [3], init=L.initializers.RandomNormal())

        if use == "transparent":
            __call__ = L.transparent(__call__)
        if use == "name_like":
            encode = L.name_like("__call__")(encode)
        namespace = {"__call__": __call__, "encode": encode, "make": make, "scale": property(scale)}
        metaclass = type(L.Module)
        if use == "dataclass":
            annotations = {"at": str, "size": int, "name": str | None}
            return dataclasses.dataclass(
                metaclass(
                    class_name,
                    (L.Module,),
                    {**namespace, "__annotations__": annotations, "size": 3, "name": None},
                )
            )
        cls = metaclass(class_name, (L.Module,), {**namespace, "__init__": __init__})
        if use == "subclass":

            def call_more(self: Any, x: Any) -> Any:
                # Not called "linear": the other `__call__` is a scope of its own, which counts from the start.
                more = run.note(self.at + "s", L.Linear(3, name=run.name(self.at + "s", "more")))
                return cls.__call__(self, x) + more(x)

            return metaclass(class_name, (cls,), {"__call__": call_more})
        return cls

    def step_scope(self, x: Any, at: str, name: str, body: Any) -> Any:
        if self.written_out:
            scope = self.L.name_scope(self.name(at, name))
        else:
            scope = self.L.name_scope(name)
        with scope:
            self.note_path(at, self.L.current_name())
            return self.steps(body, at, x)

    # Transforms.

    def step_lifted(self, x: Any, at: str, kind: str, how: str, body: Any) -> Any:
        here = [at]
        if how == "module":
            module = self.module_class("once", "Lifted", (), body)(at, name=self.name(at, None))
            self.note(at, module)
            f = lambda x: module(x)
        else:
            f = lambda x: self.steps(body, here[0], x)
        lift = f if self.plainly and kind not in IN_FRAMES else LIFT[kind](self, f, lambda: here[0])
        x = lift(x)
        if how == "again":
            here[0] = at + "a"
            x = lift(x)
        return x

    def step_branches(self, x: Any, at: str, kind: str, predicate: str, bodies: Any) -> Any:
        branches = [lambda x, i=i: self.steps(bodies[i], f"{at}b{i}", x) for i in range(2)]
        chosen = {"true": True, "false": False, "data": x.sum() > 0}[predicate]
        if self.plainly or (self.written_out and self.L.running_init()):
            outs = [branch(x) for branch in branches]
            return outs[0]
        if kind == "cond":
            return self.L.cond(chosen, *branches, x)
        return self.L.switch(jnp.asarray(chosen, jnp.int32), branches, x)

    def step_plain(self, x: Any, at: str, kind: str, body: Any) -> Any:
        f = lambda x: self.steps(body, at, x)
        if self.plainly:
            return f(x)
        try:
            return PLAIN_JAX[kind](f)(x)
        finally:
            self.look_for_leaks()

    def look_for_leaks(self) -> None:
        """Notes tracers in the frame that are of no trace which is still running."""
        L = self.L
        running = _running_traces()
        parts = {
            "params": L.get_params(),
            "state": L.get_current_state(),
            "keys": L.maybe_get_rng_sequence_state(),
        }
        for part, tree in parts.items():
            for leaf in jax.tree.leaves(tree):
                if isinstance(leaf, jax.core.Tracer) and not any(
                    leaf._trace is trace for trace in running
                ):
                    self.result.leaks.add(part)

    # What else may be around steps.

    def step_hook(self, x: Any, at: str, kind: str, body: Any) -> Any:
        L, log = self.L, self.result.log

        def change(next_f: Any, value: Any, context: Any) -> Any:
            log.append(
                (kind, context.full_name, context.module_name, tuple(context.original_shape))
            )
            return next_f(value * 2)

        def create(next_f: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
            log.append(
                (kind, context.full_name, context.module_name, tuple(shape), jnp.dtype(dtype).name)
            )
            return next_f(shape, dtype, init) + 1

        def intercept(next_f: Any, args: Any, kwargs: Any, context: Any) -> Any:
            log.append(
                (kind, getattr(context.module, "module_name", None), context.method_name, len(args))
            )
            out = next_f(*args, **kwargs)
            return out * 0.5 if isinstance(out, jax.Array) else out

        hook = {
            "getter": lambda: L.custom_getter(change),
            "state getter": lambda: L.custom_getter(change, params=False, state=True),
            "creator": lambda: L.custom_creator(create),
            "state creator": lambda: L.custom_creator(create, params=False, state=True),
            "setter": lambda: L.custom_setter(change),
            "intercept": lambda: L.intercept_methods(intercept),
        }[kind]()
        with hook:
            return self.steps(body, at, x)

    def step_inner(self, x: Any, at: str, body: Any) -> Any:
        f = self.L.transform_with_state(
            self.in_frame(lambda x: self.steps(body, at, x), lambda: f"{at}:")
        )
        params, state = f.init(self.L.next_rng_key(), x)
        self.result.log.append([sorted(tree) for tree in (params, state)])
        return f.apply(params, state, self.L.next_rng_key(), x)[0]

    def in_frame(self, f: Any, prefix: Callable[[], str]) -> Any:
        """Gives the paths of modules that are made in `f`, which runs in another frame, a prefix."""

        def run(x: Any) -> Any:
            self.frames.append(prefix())
            try:
                return f(x)
            finally:
                self.frames.pop()

        return run

    def step_attempt(self, x: Any, at: str, body: Any) -> Any:
        """A body that fails at its end; what it made stays."""
        try:
            self.steps(body, at, x)
            raise _Stop
        except _Stop:
            return x


def _running_traces() -> list[Any]:
    traces: list[Any] = []
    trace = jax.extend.core.get_opaque_trace_state(convention="fuzz")._trace_ref()
    while trace is not None:
        traces.append(trace)
        trace = getattr(trace, "parent_trace", None)
    return traces


def _twice(x: Any) -> Any:
    return jnp.stack([x, 2 * x])


def _while(loop: Any, f: Any, x: Any) -> Any:
    return loop(lambda carry: carry[0] < 2, lambda carry: (carry[0] + 1, f(carry[1])), (0, x))[1]


def _lift(run: _Run, f: Any, at: Callable[[], str]) -> Any:
    L = run.L

    def lifted(x: Any) -> Any:
        inner = L.transform(run.in_frame(f, lambda: _below(run, at)))
        with run.noting(at() + "l"):
            params = L.lift(inner.init, name=run.name(at() + "l", "lifted"))(
                L.maybe_next_rng_key(), x
            )
        return inner.apply(params, L.maybe_next_rng_key(), x)

    return lifted


def _transparent_lift(run: _Run, f: Any) -> Any:
    L = run.L

    def lifted(x: Any) -> Any:
        inner = L.transform(f)
        params = L.transparent_lift(inner.init)(L.maybe_next_rng_key(), x)
        return inner.apply(params, L.maybe_next_rng_key(), x)

    return lifted


def _layer_stack(run: _Run, f: Any, at: Callable[[], str]) -> Any:
    def lifted(x: Any) -> Any:
        with run.noting(at() + "l"):
            # Not by `force_name`, which dm-haiku leaves in the paths of state.
            stack = run.L.layer_stack(2, name=f"site{at()}l" if run.written_out else None)
            return stack(run.in_frame(f, lambda: _below(run, at)))(x)

    return lifted


def _below(run: _Run, at: Callable[[], str]) -> str:
    """What the paths of a lifted function begin with, from outside."""
    return run.result.paths.get(at() + "l", "") + "/"


LIFT: dict[str, Callable[[_Run, Any, Callable[[], str]], Any]] = {
    "remat": lambda run, f, at: run.L.remat(f),
    "vmap": lambda run, f, at: lambda x: run.L.vmap(f, split_rng=False)(_twice(x)).sum(0),
    "vmap split": lambda run, f, at: (
        lambda x: run.L.vmap(f, split_rng=not run.L.running_init())(_twice(x)).sum(0)
    ),
    "vmap split in init": lambda run, f, at: (
        lambda x: run.L.vmap(f, split_rng=True)(_twice(x)).sum(0)
    ),
    "scan": lambda run, f, at: (
        lambda x: run.L.scan(lambda c, _: (f(c), None), x, None, length=2)[0]
    ),
    "scan xs": lambda run, f, at: (
        lambda x: run.L.scan(lambda c, x: (c + 1, f(x) + c), 0.0, _twice(x))[1].sum(0)
    ),
    "scan reverse": lambda run, f, at: (
        lambda x: run.L.scan(lambda c, x: (f(c) + x, c), x, jnp.stack([x, x, x]), reverse=True)[
            1
        ].sum(0)
    ),
    "scan one": lambda run, f, at: lambda x: run.L.scan(lambda c, x: (c, f(x)), 0.0, x[None])[1][0],
    "scan none": lambda run, f, at: (
        lambda x: run.L.scan(lambda c, _: (f(c), None), x, None, length=0)[0]
    ),
    "map": lambda run, f, at: lambda x: run.L.map(f, _twice(x)).sum(0),
    "fori": lambda run, f, at: lambda x: run.L.fori_loop(0, 2, lambda i, x: f(x) + i, x),
    "while": lambda run, f, at: (
        lambda x: f(x) if run.L.running_init() else _while(run.L.while_loop, f, x)
    ),
    "grad": lambda run, f, at: run.L.grad(lambda x: (f(x) ** 2).sum()),
    "value_and_grad": lambda run, f, at: (
        lambda x: sum(run.L.value_and_grad(lambda x: (f(x) ** 2).sum())(x))
    ),
    "layer_stack": lambda run, f, at: _layer_stack(run, f, at),
    "eval_shape": lambda run, f, at: lambda x: run.L.eval_shape(f, x).ndim * f(x),
    "optimize_rng_use": lambda run, f, at: (
        f if run.written_out else run.L.experimental.optimize_rng_use(f)
    ),
    "to_module": lambda run, f, at: (
        lambda x: run.note(at() + "l", run.L.to_module(f)(name=run.name(at() + "l", "net")))(x)
    ),
    "lift": lambda run, f, at: _lift(run, f, at),
    "transparent_lift": lambda run, f, at: _transparent_lift(run, f),
}
IN_FRAMES = ("layer_stack", "to_module", "lift", "transparent_lift")
"""What gives modules other names on purpose."""

PLAIN_JAX: dict[str, Callable[[Any], Any]] = {
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.vmap(f)(_twice(x)).sum(0),
    "grad": lambda f: jax.grad(lambda x: (f(x) ** 2).sum()),
    "checkpoint": jax.checkpoint,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0],
    "map": lambda f: lambda x: jax.lax.map(f, _twice(x)).sum(0),
    "fori": lambda f: lambda x: jax.lax.fori_loop(0, 2, lambda i, x: f(x), x),
    "while": lambda f: lambda x: _while(jax.lax.while_loop, f, x),
    "cond": lambda f: lambda x: jax.lax.cond(x.sum() > 0, f, lambda x: x, x),
}
