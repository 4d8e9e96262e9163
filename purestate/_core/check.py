"""`check`: all problems with the arguments of `apply`, without computing anything."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp

from purestate._core import config
from purestate._core.abstract import eval_shape_of, uncompiled
from purestate._core.collection import Bundle
from purestate._core.errors import (
    ArgumentError,
    CheckError,
    MissingStateError,
    PurestateError,
    kind_of,
)
from purestate._core.frame import Frame, ambient
from purestate._core.hooks import CALL, ActiveHooks, Hook
from purestate._core.keys import keys_for
from purestate._core.observer import Observer, observe
from purestate._core.outlines import outline_argument
from purestate._core.pairs import Transformed, TransformedWithState
from purestate._core.path import ROOT, variable_path


class Problem(NamedTuple):
    """One problem with the arguments of `apply`.

    Attributes:
      kind: "missing", "unknown", "shape", "dtype", "drift" (`apply` would change the shape or dtype
        of state), or "other".
      collection: the collection of the variable.
      path: the full name of the variable, such as "mlp/~/linear_0/w"; empty for "other".
      message: describes the problem, with similar names.
    """

    kind: str
    collection: str
    path: str
    message: str


_Trees = dict[str, dict[str, dict[str, Any]]]  # collection -> module -> name -> tree of shapes
_MOST_SHOWN = 40


# Shapes may stand for arrays, so the arguments are not those of `apply`.
@overload
def check(
    f: "Transformed[Any, Any] | TransformedWithState[Any, Any] | Callable[..., Any]",
) -> Callable[..., None]: ...
@overload
def check(f: Any) -> Any: ...
def check(f: Any) -> Any:
    """Returns a function that checks the arguments of `apply` without computing anything.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(3)(x))
    >>> x = jnp.ones([2, 5])
    >>> params = f.init(jax.random.key(0), x)
    >>> ps.check(f)(params, None, x)
    >>> wrong = {"linear": {"W": params["linear"]["w"], "b": jnp.zeros([4])}}
    >>> try:
    ...     ps.check(f)(wrong, None, x)
    ... except ps.errors.CheckError as error:
    ...     for problem in error.problems:
    ...         print(problem.message)
    params 'linear/w' is missing: float32[5,3] is needed. Near it: 'linear/W'.
    params 'linear/b' has shape float32[4], but float32[3] is needed.
    params 'linear/W' (float32[5,3]) is used by no module. Near it: 'linear/w'.

    The function is traced as `init` and as `apply` would run it with these arguments. A variable
    that neither uses is unknown. State of an existing module may be unused, since a call with other
    arguments, such as is_training=True, may need it.

    Args:
      f: a transformed pair, or an `apply`.

    Returns:
      A function with the arguments of `apply`, which may be `jax.ShapeDtypeStruct`s. It returns
      None. For `multi_transform`, a tree of such functions.

    Raises:
      ArgumentError: `f` is neither; from the function, an argument is not a tree of variables.
      CheckError: from the function, if there are problems; its `problems` lists them all.
    """
    apply = getattr(f, "apply", f)
    if callable(apply):
        return _checked(uncompiled(apply))
    functions = jax.tree.leaves(apply)
    if not functions or not all(callable(function) for function in functions):
        raise ArgumentError(
            "`ps.check` takes what `ps.transform` and its kin return, or an `apply`, but got"
            f" {kind_of(f)}."
        )
    return jax.tree.map(_checked, apply)


def _checked(apply: Callable[..., Any]) -> Callable[..., None]:
    def run(*args: Any, **kwargs: Any) -> None:
        problems = tuple(_problems(apply, args, kwargs))
        if problems:
            shown = [problem.message for problem in problems[:_MOST_SHOWN]]
            if len(problems) > _MOST_SHOWN:
                shown.append(
                    f"and {len(problems) - _MOST_SHOWN} more, in the `problems` of this error."
                )
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise CheckError(
                f"Found {count} with the arguments of `apply`:\n  " + "\n  ".join(shown),
                problems,
            )

    return run


def _problems(apply: Callable[..., Any], args: Any, kwargs: Any) -> list[Problem]:
    # `compare` reports all missing state, and a real run reports the keys that it draws.
    with config.override({"new_state": "off", "shared_keys": "off"}, tells_jax=False):
        run = _Run(as_init=True)
        try:
            run(apply, args, kwargs)
        except MissingStateError:
            # With these arguments, such as is_training=False, only the given state may make a run
            # possible.
            run = _Run(as_init=True, state_given=True)
            with contextlib.suppress(
                Exception
            ):  # perhaps about the given state; the last run below reports it
                run(apply, args, kwargs)
        problems = run.compare()
        if any(problem.kind in ("missing", "shape") for problem in problems):
            return problems
        run = _Run(as_init=False)
        try:
            run(apply, args, kwargs)
        except PurestateError as error:
            if isinstance(error, ArgumentError):
                raise
            return [*problems, Problem("other", "", "", str(error))]
        return [*problems, *run.drift()]


class _Run(Observer):
    """One run of `apply` on shapes, or of its function as `init` would run it."""

    def __init__(self, *, as_init: bool, state_given: bool = False):
        self._as_init = as_init
        self._state_given = state_given
        self._frame: Frame | None = None
        self._modules: set[str] = {ROOT}
        self._restarted = False  # None was given as the state, on purpose
        self.at_end = False
        self.given: _Trees = {}
        self.found: _Trees = {}

    def __call__(self, apply: Callable[..., Any], args: Any, kwargs: Any) -> None:
        def run(*args: Any, **kwargs: Any) -> None:
            outer = ambient.set(((), ()))
            try:
                notes = ActiveHooks(Hook(CALL, self._note_module), tells_jax=False)
                with observe(self, alone=True), notes:
                    apply(*args, **kwargs)
                self.at_end = True
            finally:
                ambient.reset(outer)
                self._note_variables()

        eval_shape_of(run, args, kwargs)

    def _note_variables(self) -> None:
        for name, collection in self._frame.collections.items() if self._frame is not None else ():
            kept = collection.initial if self._as_init and name != "params" else collection.values
            self.found[name] = _shapes(kept or {})
        self._frame = None  # with its tracers, which must not outlive the trace

    def _note_module(self, next_method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = next_method(*args, **kwargs)
        self._modules.add(getattr(context.module, "module_name", ""))
        return out

    def began(self, frame: Frame) -> None:
        """Takes the first frame. To run it as `init`, makes a frame of `init` of it."""
        if self._frame is not None:  # a function lifted into this one
            return
        self._frame = frame
        self.given = {
            name: _shapes(collection.values) for name, collection in frame.collections.items()
        }
        state = frame.collections["state"]
        self._restarted = not frame.layout.by_collection and not state.given and not state.values
        if not self._as_init:
            return
        frame.running_init = True
        if frame.keys.source is None:
            frame.keys.source = keys_for(jax.random.key(0), frame.keys.mode)
        # `frame.given` stays: modules are named as `apply` names them.
        kept = {
            name: collection.values
            for name, collection in frame.collections.items()
            if name != "params" and self._state_given
        }
        names = {name: {} for name in frame.collections}
        frame.layout = frame.layout.for_init()
        frame.collections.update(frame.layout.initialized({**names, **kept}))

    def compare(self) -> list[Problem]:
        """Returns the differences between the given variables and the needed ones."""
        problems: list[Problem] = []
        for collection in {**self.found, **self.given}:
            if collection == "state" and self._restarted:
                continue
            needed, given = (
                _flat(self.found.get(collection, {})),
                _flat(self.given.get(collection, {})),
            )
            missing = [path for path in needed if path not in given]
            others = [path for path in given if path not in needed]
            for path in needed:
                if path in missing:
                    text = f"is missing: {outline_argument(needed[path][1])} is needed."
                    problems.append(_problem("missing", collection, path, text, others))
                else:
                    problems += _difference(collection, path, given[path][1], needed[path][1])
            for path in others:
                if not self.at_end or self._may_be_used(collection, path, missing):
                    continue
                text = f"({outline_argument(given[path][1])}) is used by no module."
                problems.append(_problem("unknown", collection, path, text, missing))
        return problems

    def _may_be_used(self, collection: str, path: str, missing: list[str]) -> bool:
        """Whether a variable may be for other arguments, or for a method that was not called."""
        module = _flat(self.given[collection])[path][0]
        if _near(path, missing):
            return False
        if collection != "params" and module in self._modules:
            return True
        used = [f"{path}/" for bundle in self.found.values() for path in bundle]
        idle = (
            f"{path}/"
            for path in self._modules
            if not any(other.startswith(f"{path}/") for other in used)
        )
        return any(f"{module}/".startswith(path) for path in idle)

    def drift(self) -> list[Problem]:
        """Returns the state whose shape or dtype `apply` would change."""
        problems: list[Problem] = []
        for collection, found in self.found.items():
            given = _flat(self.given.get(collection, {}))
            if collection == "params" or not given:
                continue
            for path, (_, after) in _flat(found).items():
                if path not in given:
                    text = (
                        f"is new: `apply` makes it, {outline_argument(after)}, and was not"
                        " given it."
                    )
                    problems.append(_problem("drift", collection, path, text, []))
                elif after != given[path][1]:
                    text = (
                        f"is {outline_argument(given[path][1])}, and `apply` makes"
                        f" {outline_argument(after)} of it."
                    )
                    problems.append(_problem("drift", collection, path, text, []))
        return problems


def _difference(collection: str, path: str, given: Any, needed: Any) -> list[Problem]:
    if given == needed:
        return []
    shapes = [
        jax.tree.map(lambda leaf: getattr(leaf, "shape", None), tree) for tree in (given, needed)
    ]
    kind = "dtype" if shapes[0] == shapes[1] else "shape"
    text = f"has {kind} {outline_argument(given)}, but {outline_argument(needed)} is needed."
    return [_problem(kind, collection, path, text, [])]


def _problem(kind: str, collection: str, path: str, text: str, others: list[str]) -> Problem:
    near = _near(path, others)
    hint = f" Near it: {', '.join(map(repr, near))}." if near else ""
    return Problem(kind, collection, path, f"{collection} {path!r} {text}{hint}")


def _near(path: str, others: list[str]) -> list[str]:
    import difflib  # here, since only errors need it

    return difflib.get_close_matches(path, others, n=2, cutoff=0.6)


def _shape(leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex)) or (
        hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    ):
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
    return leaf


def _shapes(bundle: Mapping[str, Any]) -> Bundle:
    """Returns the shapes of a bundle's arrays. A value that is not a dict is kept."""
    return {
        module: (
            {name: jax.tree.map(_shape, value) for name, value in variables.items()}
            if isinstance(variables, Mapping)
            else {"": _shape(variables)}
        )
        for module, variables in bundle.items()
    }


def _flat(bundle: Bundle) -> dict[str, tuple[str, Any]]:
    return {
        variable_path(module, name) if name else module: (module, value)
        for module, variables in bundle.items()
        for name, value in variables.items()
    }
