"""What a program shows of the two libraries: that they agree, or of what class the disagreement is.

Who is right where they disagree is never asked of purestate. It is dm-haiku that tells: by dead tracers in what it returns or
keeps, by one path for modules at two places of the program, by what it returns for the same program with all paths
written out (`force_name`) and all branches run in `init`, and by the names it gives without the transforms.
"""

from typing import Any

import haiku
import jax
import numpy as np

import purestate
from tests.fuzz.programs import Outcome, outcome

UNKNOWN = "unknown"
"""What the names of classes start with that nobody has looked at."""

SHARED = "dm-haiku gives modules at two places one set of weights"

# What dm-haiku refuses, by what it says.
REFUSED = {
    "branch outputs must have the same pytree structure": "branches that make variables of their own",
    "must have same type structure": "branches that make variables of their own",
    "must have equal output types": "branches that make variables of their own",
    "New parameters were created": "modules made in the body of a loop",
    "is not unique": "modules with numbers in their names in the body of a loop",
    "Unable to retrieve parameter": "modules whose names differ between init and apply, for the transforms that they are in",
    "with retrieved shape": "modules at two places that it takes for one",
    "already exists in the destination params": "two lifts under one name, one of them in a transform",
    "scan body function carry input and carry output": "modules made in the body of a loop",
}


def classify(program: Any) -> str:
    """Returns the class of a program: "identical", "both raise ...", "dm-haiku ...", or "unknown ..."."""
    ours, theirs = outcome(program, purestate), outcome(program, haiku)
    raised = ours.error and ours.error[1]
    if raised is not None and not isinstance(raised, purestate.errors.PurestateError):
        same = theirs.error is not None and type(theirs.error[1]) is type(raised)
        if not same:  # JAX says the same to both where it is given the same
            return f"{UNKNOWN}: an error that is not of our tree, {type(raised).__name__}: {str(raised)[:100]}"
    if _has_tracers(ours):
        return f"{UNKNOWN}: purestate returns dead tracers"
    if ours.leaks and not ours.error:
        return f"{UNKNOWN}: purestate keeps dead tracers in {', '.join(sorted(ours.leaks))}"
    if ours.error and theirs.error:
        return (
            f"both raise: {type(ours.error[1]).__name__}, dm-haiku {type(theirs.error[1]).__name__}"
        )
    if ours.error:
        return _only_ours_raises(ours, theirs)
    if theirs.error is None and _same(ours, theirs):
        return "identical" + "".join(f", with a {name}" for name in sorted(ours.warned))
    if theirs.error is None and _same(ours, theirs, log=False):
        if _only_looks_differ(ours, theirs):
            return "dm-haiku's get_params leaves out what was just made inside a transform"
        if "'optimize_rng_use'" in str(program):
            return "dm-haiku's optimize_rng_use looks ahead from an empty frame"
    if (
        theirs.error is None
        and _has(program, "layer_stack")
        and _differs_in_first_state(program, ours, theirs)
    ):
        return "dm-haiku's init returns a later state of a layer_stack that runs more than once"
    if (
        theirs.error is None
        and _has(program, "branches")
        and _differs_in_first_values(program, ours, theirs)
    ):
        return "dm-haiku's init takes values of one name from the branch that the data choose"
    later = _has(program, "layer_stack") and _has(program, "fori", "while")
    if theirs.error is None and later and _differs_in_first_values(program, ours, theirs):
        return "dm-haiku's init returns later parameters of a layer_stack in a loop"
    if (
        theirs.error is None
        and _has(program, "optimize_rng_use")
        and _differs_in_first_values(program, ours, theirs)
    ):
        return "dm-haiku's optimize_rng_use looks ahead from an empty frame"
    return _written_out(program, ours, theirs)


def _only_ours_raises(ours: Outcome, theirs: Outcome) -> str:
    raised = type(ours.error[1]).__name__  # pyright: ignore[reportOptionalSubscript]
    if _has_tracers(theirs):
        return f"dm-haiku returns dead tracers ({raised})"
    if raised == "ModuleNameError" and _shares(theirs):
        return f"{SHARED} ({raised})"
    if theirs.leaks:
        return f"dm-haiku keeps dead tracers in {', '.join(sorted(theirs.leaks))} ({raised})"
    # A key that was reserved before, as a scan does it, leaves no dead tracer. purestate refuses all
    # draws there: in a transform that repeats its function, all repetitions would get that one key.
    if raised == "JaxUsageError" and "`ps.next_rng_key`" in str(ours.error[1]):  # pyright: ignore
        return f"dm-haiku draws a reserved key inside a plain transform ({raised})"
    return f"{UNKNOWN}: only purestate raises {raised}: {str(ours.error[1])[:100]}"  # pyright: ignore


def _written_out(program: Any, ours: Outcome, theirs: Outcome) -> str:
    given: list[Any] = []

    def take_ours(oracle: Outcome) -> Any:
        given[:] = [_renamed(tree, ours.paths, oracle.paths) for tree in ours.results["init"]]
        return given

    oracle = outcome(program, haiku, written_out=True, given=take_ours)
    what = f"dm-haiku raises {type(theirs.error[1]).__name__}" if theirs.error else "results differ"
    names = outcome(program, haiku, plainly=True).paths
    if (
        oracle.error
        and ours.paths == names
        and _has(program, "lift", "transparent_lift", "layer_stack")
    ):
        return f"not looked into, since paths below a lift cannot be written out: {what}"
    if oracle.error:
        return f"{UNKNOWN}: {what}, and with paths written out {type(oracle.error[1]).__name__}: {oracle.error[1]!s:.100}"
    # Draws other keys, but the variables have the same names, shapes and dtypes.
    other_keys_in_init = _has(program, "optimize_rng_use", "branches")
    other_keys = other_keys_in_init and _has(
        program, "optimize_rng_use", "inner", "lift", "layer_stack"
    )
    if not _equal(given, list(oracle.results["init"]), values=not other_keys_in_init):
        return f"{UNKNOWN}: {what}, and the first values differ with paths written out"
    for name in ("apply 0", "apply 1"):
        (out, state), expected = ours.results[name], oracle.results[name]
        if not _equal(
            [out, _renamed(state, ours.paths, oracle.paths)], list(expected), values=not other_keys
        ):
            return f"{UNKNOWN}: {what}, and {name} differs with paths written out"
    if ours.paths != names:
        return f"{UNKNOWN}: {what}, and without the transforms modules have other names"
    if theirs.error:
        text = str(theirs.error[1])
        reasons = [reason for said, reason in REFUSED.items() if said in text]
        if reasons:
            return f"dm-haiku refuses {reasons[0]}"
    elif _shares(theirs) and not _shares(ours):
        return SHARED
    elif ours.paths != theirs.paths:
        return "dm-haiku names modules otherwise after a transform than without it"
    if theirs.error is None and other_keys:
        return "optimize_rng_use counts other draws of transforms within it than dm-haiku, and so splits other keys"
    if (
        theirs.error is None
        and _has(program, "layer_stack")
        and _has(program, "state", "batch_norm", "ema")
    ):
        return "dm-haiku loses updates of the state of the second layer_stack"
    return f"{UNKNOWN}: {what}, purestate is right" + (f" ({text[:100]})" if theirs.error else "")


def _has_tracers(result: Outcome) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(result.results))


def _only_looks_differ(ours: Outcome, theirs: Outcome) -> bool:
    """Whether all is the same but that dm-haiku sees fewer variables on the way: those made in the transform that runs."""
    if len(ours.log) != len(theirs.log):
        return False

    def names(variables: Any) -> set[tuple[str, str]]:
        return {(module, name) for module, names in variables for name in names}

    return all(
        a == b
        or (
            a[:2] == b[:2]
            and len(a) == 5
            and all(names(y) <= names(x) for x, y in zip(a[2:], b[2:], strict=True))
        )
        for a, b in zip(ours.log, theirs.log, strict=True)
    )


def _differs_in_first_state(program: Any, ours: Outcome, theirs: Outcome) -> bool:
    """Whether all is the same but values of the state that `init` returns."""
    again = outcome(program, haiku, given=lambda _: ours.results["init"])
    first, expected = ours.results["init"], theirs.results["init"]
    return (
        ours.paths == theirs.paths
        and _equal(first[0], expected[0])
        and _equal(first[1], expected[1], values=False)
        and all(
            _equal(ours.results[name], again.results.get(name)) for name in ("apply 0", "apply 1")
        )
    )


def _differs_in_first_values(program: Any, ours: Outcome, theirs: Outcome) -> bool:
    """Whether all is the same but the values that `init` returns, as from another number of keys split at once."""
    again = outcome(program, haiku, given=lambda _: ours.results["init"])
    return (
        ours.paths == theirs.paths
        and ours.order == theirs.order
        and _equal(ours.results["init"], theirs.results["init"], values=False)
        and all(
            _equal(ours.results[name], again.results.get(name)) for name in ("apply 0", "apply 1")
        )
    )


def _shares(result: Outcome) -> bool:
    """Whether modules at two places of the program have one path."""
    return len(set(result.paths.values())) < len(result.paths)


def _has(program: Any, *words: str) -> bool:
    return any(f"'{word}'" in str(program) for word in words)


def _renamed(bundle: Any, old: dict[str, str], new: dict[str, str]) -> Any:
    """A bundle with the paths of another run of the same program."""
    by_path = {path: new.get(site, path) for site, path in old.items()}

    def rename(path: str) -> str:
        start = max(
            (p for p in by_path if path == p or path.startswith(p + "/")), key=len, default=None
        )
        return path if start is None else by_path[start] + path[len(start) :]

    return {rename(path): dict(values) for path, values in bundle.items()}


def _same(ours: Outcome, theirs: Outcome, log: bool = True) -> bool:
    return (
        ours.order == theirs.order
        and (ours.log == theirs.log or not log)
        and ours.paths == theirs.paths
        and _equal(ours.results, theirs.results)
    )


def _equal(a: Any, b: Any, values: bool = True) -> bool:
    """Whether two trees have the same structure, shapes, dtypes and, with `values`, bytes."""
    a, b = (jax.tree.map(lambda leaf: leaf, tree) for tree in (a, b))
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    return all(
        _same_leaf(x, y, values)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def _same_leaf(x: Any, y: Any, values: bool) -> bool:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in (x, y)) or (x.shape, x.dtype) != (
        y.shape,
        y.dtype,
    ):
        return False
    if not values:
        return True
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    x, y = np.asarray(x), np.asarray(y)
    # All not-a-numbers are one.
    return x.tobytes() == y.tobytes() or bool(
        np.array_equal(x, y, equal_nan=True) and (np.signbit(x) == np.signbit(y)).all()
    )
