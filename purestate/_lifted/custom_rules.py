"""`custom_vjp` and `custom_jvp`: functions that use the frame, with a derivative rule."""

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax

from purestate._core.collection import Bundle
from purestate._core.errors import CustomRuleError
from purestate._core.frame import Frame, ambient, get_frame
from purestate._core.observer import Observer
from purestate._core.outlines import outline
from purestate._core.path import variable_path
from purestate._lifted.differentials import zero_tangent
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import not_sliced_again
from purestate._lifted.reads import names_in, params_of, reads_of
from purestate._lifted.snapshot import (
    Snapshot,
    Values,
    changes,
    keep,
    merged,
    paths_of,
    take_snapshot,
)

P = ParamSpec("P")
R = TypeVar("R")

_running: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("rules", default=())
_DEEPEST = 8


class _Explicit(Observer):
    """Refuses to read variables that are not arguments of the function that has the rule."""

    def __init__(self, explicit: Values, there: Values, who: str, fun: str):
        self._explicit = explicit
        self._there = there
        self._who = who
        self._fun = fun

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        """Raises if a rule reads what the function itself does not read."""
        store = frame.layout.store_of(frame, collection)
        explicit = self._explicit.get(store, {}).get(path, {})
        if name not in explicit and name in self._there.get(store, {}).get(path, {}):
            raise CustomRuleError(
                f"{self._who} of {self._fun!r} reads {variable_path(path, name)!r}, which"
                f" {self._fun!r} itself does not read. The rule has no way to return its gradient."
                " A rule may read the variables that the function reads."
            )
        return value


class _Call:
    """One call of a function that has a rule, as a function of all that it reads.

    JAX allows a function with a rule to use nothing that is differentiated but its arguments, so
    the variables that it reads are arguments too.

    Attributes:
      params: the parameters that the function reads.
      rest: the other variables, and the keys. No gradient goes through them.
      args: the arguments that are differentiated.
    """

    def __init__(self, frame: Frame, fun: Callable[..., Any], args: Sequence[Any], nondiff: Any):
        self._frame = frame
        self._name = getattr(fun, "__name__", None) or type(fun).__name__
        self._fun = fun
        numbers = {n + len(args) if n < 0 else n for n in nondiff}
        self.static = [arg for i, arg in enumerate(args) if i in numbers]
        self.args = [arg for i, arg in enumerate(args) if i not in numbers]
        self._is_static = [i in numbers for i in range(len(args))]
        # All rules begin with the names that the function begins with, so there is one `Lifted`.
        self._lifted = Lifted(lambda f, *args: f(*args), frame, names_stay=True)
        reads = reads_of(
            frame,
            self._lifted,
            *self.args,
            through=lambda run: lambda before, *args: run(before, self.function, *args),
        )
        self._fixed = {
            name: kept.values for name, kept in frame.collections.items() if not kept.changes
        }
        self.params = params_of(reads)
        before = take_snapshot(frame)
        fixed = {name: reads.values.get(name, {}) for name in self._fixed if name != "params"}
        self.rest = before._replace(values={**before.values, **fixed})
        # A rule may run when the frame has ended, as `jax.grad` of `apply` runs it.
        self._then = ambient.get(), frame.keys
        self._changed: list[str] | None = None

    def function(self, *args: Any) -> Any:
        """Runs the user's function."""
        return self._fun(*self.all_args(args))

    def all_args(self, args: Sequence[Any]) -> list[Any]:
        """Returns all arguments, the static ones in their places."""
        static, rest = iter(self.static), iter(args)
        return [next(static) if is_static else next(rest) for is_static in self._is_static]

    def run(
        self, who: str, f: Callable[..., Any], params: Bundle, rest: Snapshot, *args: Any
    ) -> Any:
        """Runs a function of the frame on given variables; returns its result and its changes."""
        frame, (around, keys) = self._frame, self._then
        # What `init` made and the function does not read is there all the same, for `has_parameter`
        # and its kin. Reading it is an error.
        given = merged(rest.values, {"params": params})
        before = rest._replace(values=merged({"params": self._fixed.get("params", {})}, given))

        outside = frame.keys, frame.observers
        frame.keys = keys
        frame.observers = (*frame.observers, _Explicit(given, self._fixed, who, self._name))
        token = ambient.set(around)  # hooks, too, are those around the function
        try:
            with not_sliced_again(frame, {0: given}):
                out, after, sown = self._lifted.run(before, f, *args)
        finally:
            ambient.reset(token)
            frame.keys, frame.observers = outside
        return out, changes(before, after), sown

    def changing(self, who: str, f: Callable[..., Any], *args: Any) -> Any:
        """Runs the function, or a rule in its place; raises if they change different state."""
        out, changed, sown = self.run(who, f, *args)
        # JAX compares the two results only now and then, and its error would show our own tree.
        names = paths_of(changed.values) + paths_of(sown)
        if self._changed is not None and self._changed != names:
            raise CustomRuleError(
                f"{who} of {self._name!r} sets and sows {_listed(names)}. {self._name!r} itself"
                f" sets and sows {_listed(self._changed)}. A rule runs in place of its function,"
                " so it must make the same changes: call the function in it."
            )
        self._changed = names
        return out, changed, sown

    def dropping(self, who: str, f: Callable[..., Any], *args: Any) -> Any:
        """Runs a rule, and drops what it changes."""
        # Names too: `bwd` may make other modules than the function, and may run later.
        with self._lifted.undone():
            return self.run(who, f, *args)[0]


def _length(value: Any) -> int | None:
    # An array of length 2 would unpack as well, into a wrong pair.
    return len(value) if isinstance(value, tuple) else None  # pyright: ignore


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


class _WithRule(Generic[P, R]):
    """A function with a rule."""

    _what = ""
    _define = ""

    def __init__(self, fun: "Callable[P, R]", nondiff_argnums: Sequence[int] = ()):
        self._fun = fun
        self._nondiff = tuple(nondiff_argnums)
        self._rules: tuple[Callable[..., Any], ...] = ()
        functools.update_wrapper(self, fun)
        self._name = getattr(fun, "__name__", None) or type(fun).__name__

    def __call__(self, *args: "P.args", **kwargs: "P.kwargs") -> R:
        frame = get_frame(
            f"A function made by `ps.{self._what}` (outside, `jax.{self._what}` does)"
        )
        if not self._rules:
            # JAX says so only when it differentiates; a value without a rule would hide it.
            raise CustomRuleError(
                f"{self._name!r} has no rule yet: call `{self._name}.{self._define}` first."
            )
        if frame.running_init:  # a rule needs parameters that exist
            return self._fun(*args, **kwargs)
        # Everything that it reads becomes an argument, since JAX differentiates by nothing else.
        call = _Call(frame, self._fun, self._by_position(args, kwargs), self._nondiff)
        out, changed, sown = self._run(call)
        keep(frame, changed, sown)
        return out

    def _by_position(self, args: Any, kwargs: Any) -> tuple[Any, ...]:
        if not kwargs:
            return args
        # As JAX does it: a rule returns gradients in the order of arguments.
        bound = inspect.signature(self._fun).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise CustomRuleError(
                f"{self._name!r} was called with {sorted(bound.kwargs)} by keyword only. A function"
                f" with `ps.{self._what}` takes its arguments by position, so that a rule can name"
                " their gradients."
            )
        return bound.args

    def _run(self, call: _Call) -> Any:
        raise AssertionError  # each kind of rule has its own

    @contextlib.contextmanager
    def _within(self, who: str) -> Generator[None]:
        """Raises if a rule differentiates its own function, which would run the rule again."""
        running = _running.get()
        # A derivative of a derivative runs a rule within itself, but not without end.
        if sum(other is self for other in running) > _DEEPEST:
            raise CustomRuleError(
                f"{who} of {self._name!r} differentiates {self._name!r} itself, so it would run"
                " itself without end. Differentiate the function without the rule: "
                f"`{self._name}.__wrapped__`, or the function that `ps.{self._what}` was given."
            )
        token = _running.set((*running, self))
        try:
            yield
        finally:
            _running.reset(token)


class custom_vjp(_WithRule[P, R]):  # noqa: N801 (JAX's name)
    """Like `jax.custom_vjp`, for functions that use modules, state or random keys.

    A network with a clipped gradient by its input, and plain gradients by its parameters:

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def net(x):
    ...     return ps.Linear(2)(x)
    >>> clipped = ps.custom_vjp(net)
    >>> def fwd(x):
    ...     return ps.vjp(net, x, with_params=True)
    >>> def bwd(back, g):
    ...     to_params, to_x = back(g)
    ...     return to_params, jnp.clip(to_x, -0.125, 0.125)
    >>> clipped.defvjp(fwd, bwd)
    >>> f = ps.transform(lambda x: clipped(x).sum())
    >>> x = jnp.ones([3])
    >>> params = f.init(jax.random.key(0), x)
    >>> float(abs(jax.grad(f.apply, argnums=2)(params, None, x)).max()) <= 0.125
    True
    >>> jax.grad(f.apply)(params, None, x)["linear"]["b"].tolist()
    [1.0, 1.0]

    `fwd` runs in place of the function, and begins with the same names, state and keys. `bwd` may
    use modules too: it reads the same variables and draws the same keys, and what it changes is
    dropped. State gets no gradient. In `init` the function runs without the rule.

    Args:
      fun: a module or function.
      nondiff_argnums: the arguments that are Python values; `bwd` receives them first.
    """

    _what = "custom_vjp"
    _define = "defvjp(fwd, bwd)"

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Defines the rule.

        Args:
          fwd: `fwd(*args) -> (out, residuals)`.
          bwd: `bwd(residuals, g) -> (params_gradient, *args_gradients)`. The gradient of the
            parameters is a bundle `{module: {name: array}}`. None stands for zero, and so do names
            that are absent.
        """
        self._rules = fwd, bwd

    def _run(self, call: _Call) -> Any:
        fwd, bwd = self._rules

        @jax.custom_vjp
        def run(params: Bundle, rest: Snapshot, *args: Any) -> Any:
            return call.changing("The function", call.function, params, rest, *args)

        def forward(params: Bundle, rest: Snapshot, *args: Any) -> Any:
            with self._within("`fwd`"):
                both, changed, sown = call.changing(
                    "`fwd`", lambda *args: fwd(*call.all_args(args)), params, rest, *args
                )
            if _length(both) != 2:
                raise CustomRuleError(
                    f"`fwd` of {self._name!r} must return (out, residuals), but it returned"
                    f" {outline(both)}."
                )
            out, residuals = both
            # `bwd` may run modules, so their variables are kept for it. They are there anyway.
            return (out, changed, sown), (residuals, params, rest)

        def backward(kept: Any, cotangents: Any) -> Any:
            residuals, params, rest = kept
            rule = lambda *args: bwd(*call.static, *args)  # noqa: E731
            # A gradient of state has nothing to flow to: the rule speaks of the result.
            with self._within("`bwd`"):
                found = call.dropping("`bwd`", rule, params, rest, residuals, cotangents[0])
            return self._checked(found, params, len(call.args))

        run.defvjp(forward, backward)
        return run(call.params, call.rest, *call.args)

    def _checked(self, found: Any, params: Bundle, number: int) -> tuple[Any, ...]:
        """Returns what `bwd` returned in the form that JAX expects."""
        if _length(found) != number + 1:
            raise CustomRuleError(
                f"`bwd` of {self._name!r} must return a tuple of {number + 1}: the gradient of the"
                " parameters, or None, and one of each argument. It returned"
                f" {outline(found) if _length(found) is None else _length(found)}."
            )
        # JAX wants a gradient of each parameter, and takes None for those that are zero.
        given: Any = {} if found[0] is None else found[0]
        names = names_in(given) if isinstance(given, dict) else {outline(given)}  # pyright: ignore
        if names - names_in(params):
            raise CustomRuleError(
                f"`bwd` of {self._name!r} must first return a bundle {{module: {{name: array}}}} of"
                f" gradients, with names among {_listed(sorted(names_in(params)))}, or None. It"
                f" returned {_listed(sorted(names))}."
            )
        gradients = {
            path: {name: given.get(path, {}).get(name) for name in bundle}
            for path, bundle in params.items()
        }
        return (gradients, None, *found[1:])


class custom_jvp(_WithRule[P, R]):  # noqa: N801 (JAX's name)
    """Like `jax.custom_jvp`, for functions that use modules, state or random keys.

    A rounded output whose derivative is that of the output before it was rounded:

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def net(x):
    ...     return ps.Linear(2)(x)
    >>> rounded = ps.custom_jvp(lambda x: jnp.round(net(x)))
    >>> def rule(primals, tangents):
    ...     y, y_tangent = ps.jvp(net, primals, tangents, with_params=True)
    ...     return jnp.round(y), y_tangent
    >>> rounded.defjvp(rule)
    >>> f = ps.transform(lambda x: rounded(x).sum())
    >>> x = jnp.ones([3])
    >>> params = f.init(jax.random.key(0), x)
    >>> jax.grad(f.apply)(params, None, x)["linear"]["b"].tolist()
    [1.0, 1.0]

    The rule runs in place of the function, and begins with the same names, state and keys. State
    gets no derivative. In `init` the function runs without the rule.

    Args:
      fun: a module or function.
      nondiff_argnums: the arguments that are Python values; the rule receives them first.
    """

    _what = "custom_jvp"
    _define = "defjvp(rule)"

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """Defines the rule.

        Args:
          rule: `rule(primals, tangents) -> (out, tangent)`. `primals` are the arguments. `tangents`
            has one more: first those of the parameters, a bundle `{module: {name: array}}`.
        """
        self._rules = (rule,)

    def _run(self, call: _Call) -> Any:
        (rule,) = self._rules

        @jax.custom_jvp
        def run(params: Bundle, rest: Snapshot, *args: Any) -> Any:
            return call.changing("The function", call.function, params, rest, *args)

        def derivative(primals: Any, tangents: Any) -> Any:
            params, rest, *args = primals
            # State has a tangent for JAX, but none that a rule could use.
            params_tangents, _, *args_tangents = tangents
            with self._within("The rule"):
                both, changed, sown = call.changing(
                    "The rule",
                    lambda *both: rule(*call.static, *both),
                    params,
                    rest,
                    tuple(args),
                    (params_tangents, *args_tangents),
                )
            if _length(both) != 2:
                raise CustomRuleError(
                    f"The rule of {self._name!r} must return (out, tangent), but it returned"
                    f" {outline(both)}."
                )
            out, tangent = both
            return (out, changed, sown), (tangent, *zero_tangent((changed, sown)))

        run.defjvp(derivative)
        return run(call.params, call.rest, *call.args)
