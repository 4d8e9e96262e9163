"""Finds the variable of the model for each variable of a checkpoint."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from purestate._checkpoint.errors import CheckpointError, CheckpointMismatchError
from purestate._checkpoint.fitting import LoadReport
from purestate._convert.errors import UnverifiedWarning
from purestate._core.errors import kind_of
from purestate._core.trace_guard import warn_user
from purestate._tf_checkpoint.bundle import Bundle
from purestate._tf_checkpoint.naming import Place, name_variables
from purestate._tf_checkpoint.object_graph import COUNTER, ObjectGraph
from purestate._tf_checkpoint.proof import Proof, Stored
from purestate._tf_checkpoint.targets import Target, Targets, full_path, split_name

Attributes = Mapping[str, Place]

_HOW = (
    "Pass `attributes`, which says what each variable is, such as {'_layers/0/w': ('linear', 'w')}:"
    " its attributes in Sonnet, and the path of its module and its name in purestate."
    " `snt.attribute_paths(net)` returns it for a net that has been called."
)
_TO_BE_SURE = (
    "pass `attributes=snt.attribute_paths(net)`, for a net that has been called. For a net in a"
    " transformed function, write `paths.update(snt.attribute_paths(net))` there after its call,"
    " with `paths = {}` outside; after `init`, pass `attributes=paths`."
)


@dataclasses.dataclass(frozen=True)
class Match:
    """Which variable of the model each variable of the checkpoint is.

    Attributes:
      found: by the number of the variable in the object graph.
      report: what has no counterpart, or another shape or dtype.
      has_order: whether equal modules have a likely order of construction.
    """

    found: dict[int, Target]
    report: LoadReport
    has_order: bool = True


def match(
    bundle: Bundle,
    graph: ObjectGraph,
    root: str,
    targets: Targets,
    attributes: Attributes | None,
    *,
    only_given: bool = False,
) -> dict[int, Target]:
    """Returns the variable of the model for each variable below the root.

    Warns, if equal modules are matched by the order of the attributes.

    Args:
      bundle: the checkpoint.
      graph: its objects.
      root: the name of the model.
      targets: the variables of the model.
      attributes: what the user says about them.
      only_given: whether the checkpoint may have more variables.

    Raises:
      CheckpointMismatchError: they are not the same variables; the message has all problems.
      CheckpointError: the root does not exist, or nothing says which of two variables is which.
    """
    matcher = _Matcher(bundle, graph, root, targets, only_given)
    if attributes is not None:
        only = matcher.by_attributes(attributes)
        if only.report:
            raise matcher.error(
                only.report,
                "Correct `attributes`: its paths are those that `load` shows, and each variable of"
                " the model has one.",
            )
        return only.found
    proof = matcher.proof()
    if proof.is_complete:
        return proof.found
    likely = [matcher.by_names(deduces) for deduces in (True, False)]
    fitting = [each for each in likely if not each.report and proof.allows(each.found)]
    if any(each.has_order for each in fitting) and fitting[0].found == fitting[-1].found:
        matcher.warn(proof)
        return fitting[0].found
    if proof.is_open or not all(each.report for each in likely):
        raise matcher.ambiguous(proof)
    best = min(likely, key=lambda each: len(_problems(each.report)))
    raise matcher.error(best.report, f"The names in the file come from its object graph. {_HOW}")


def _problems(report: LoadReport) -> list[object]:
    return [*report.missing, *report.unexpected, *report.mismatched]


class _Matcher:
    def __init__(
        self, bundle: Bundle, graph: ObjectGraph, root: str, targets: Targets, only_given: bool
    ):
        self._bundle = bundle
        self._only_given = only_given
        self._graph = graph
        self._root_name = root
        self._root = graph.root(root)
        self._targets = targets
        # Texts are left out, since a model in JAX has none.
        self._paths = {
            at: path
            for path, at in graph.variables(self._root)
            if self._outline(at)[1].kind != "O" and not (root == "" and path == COUNTER)
        }

    def proof(self) -> Proof:
        """Matches all that is certain."""
        stored = {
            at: Stored(split_name(self._graph.nodes[at].full_name), *self._outline(at))
            for at in self._paths
        }
        return Proof(self._graph, self._root, stored, self._targets.all, self._only_given)

    def by_names(self, deduces: bool) -> Match:
        """Matches by the order of the attributes; see `ObjectTree` for `deduces`."""
        named = name_variables(self._graph, self._root, lambda at: self._outline(at)[0], deduces)
        tops = {full_path(target)[0] for target in self._targets.all if target.module}
        renamed = named.renumbered(tops)
        places = {at: place for at, place in renamed.items() if at in self._paths}
        found = {at: self._targets.plainly(*place) for at, place in places.items()}
        shown = {at: "/".join(part for part in place if part) for at, place in places.items()}
        match = self._judged(found, shown, [])
        return dataclasses.replace(match, has_order=not named.unordered)

    def by_attributes(self, attributes: Attributes) -> Match:
        """Matches by the attributes of the user."""
        if not isinstance(attributes, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CheckpointError(
                "`attributes` must be a dict {path of attributes: (module path, name)}, but is"
                f" {kind_of(attributes)}."
            )
        start = self._root_name + "/"
        is_whole = bool(attributes) and all(path.startswith(start) for path in attributes)
        found: dict[int, list[Target]] = {}
        missing: list[str] = []
        for path, place in attributes.items():
            relative = path.removeprefix(start) if is_whole else path
            at = self._graph.find(self._root, relative)
            if at is None and is_whole:
                at = self._graph.find(self._root, path)
            targets = self._targets.exactly(*_place(path, place)) or self._targets.plainly(*place)
            if at is None or at not in self._paths:
                missing.append(f"{place[0]}/{place[1]} ({path} is not in the file)")
            elif at not in found:  # else another name of one variable
                found[at] = targets
        return self._judged(found, dict(self._paths), missing)

    def _judged(
        self,
        found: dict[int, list[Target]],
        shown: dict[int, str],
        missing: list[str],
    ) -> Match:
        """Compares shapes and dtypes, and finds the rest of both sides."""
        matched: dict[int, Target] = {}
        unexpected: list[str] = []
        mismatched: list[tuple[str, str, str]] = []
        taken: set[tuple[bool, str, str]] = set()
        for at, path in self._paths.items():
            name = shown[at] if shown[at] == path else f"{shown[at]} ({path})"
            targets = found.get(at, [])
            keys = [(each.is_param, each.module, each.name) for each in targets]
            if len(targets) != 1 or keys[0] in taken:
                unexpected.append(name if len(targets) < 2 else f"{name} (in params and state)")
                continue
            taken.add(keys[0])
            matched[at] = targets[0]
            problem = targets[0].problem(*self._outline(at))
            if problem:
                mismatched.append((name, *problem))
        explained = {each.partition(" (")[0] for each in missing}
        missing = missing + [
            each.shown
            for each in self._targets.all
            if (each.is_param, each.module, each.name) not in taken and each.shown not in explained
        ]
        if self._only_given:
            unexpected = []
        report = LoadReport(tuple(missing), tuple(unexpected), tuple(mismatched))
        return Match(matched, report)

    def _outline(self, at: int) -> tuple[tuple[int, ...], np.dtype]:
        key = self._graph.nodes[at].key
        assert key is not None
        return self._bundle.shape_and_dtype(key)

    def error(self, report: LoadReport, hint: str) -> CheckpointMismatchError:
        lines = [
            *(f"  Only the model has: {name}" for name in report.missing),
            *(f"  Only the file has: {name}" for name in report.unexpected),
            *(
                f"  Another shape or dtype: {name}: {there} in the file, {here} in the model"
                for name, there, here in report.mismatched
            ),
        ]
        return CheckpointMismatchError(
            f"{self._root_name!r} of the checkpoint {self._bundle.prefix!r} and the model do not"
            " have the same variables:\n" + "\n".join(lines) + f"\n{hint}",
            report,
        )

    def warn(self, proof: Proof) -> None:
        warn_user(
            f"{self._of_equal_names()}:{self._pairs(proof, 1)}\nThey were matched in the order of"
            " the attributes and lists that hold them. If they were made in another order, their"
            f" weights are exchanged now. To be sure, {_TO_BE_SURE}",
            UnverifiedWarning,
        )

    def ambiguous(self, proof: Proof) -> CheckpointError:
        return CheckpointError(
            f"{self._of_equal_names()}, and does not say in which order they were made:"
            f"{self._pairs(proof, 4)}\n{_HOW}"
        )

    def _of_equal_names(self) -> str:
        return (
            f"{self._root_name!r} of the checkpoint {self._bundle.prefix!r} has modules or"
            " variables of equal names and shapes"
        )

    def _pairs(self, proof: Proof, limit: int) -> str:
        pairs = list(proof.pairs())
        lines = [
            f"{self._paths[one]!r} or {self._paths[other]!r} is {target.shown!r}"
            for one, other, target in pairs[:limit]
        ]
        if len(pairs) > limit:
            lines.append("and others")
        return "".join(f"\n  {line}" for line in lines)


def check_attributes(targets: Targets, attributes: Attributes) -> list[tuple[str, Target]]:
    """Returns the variable of the model at each path; raises unless each one is there once."""
    found: list[tuple[str, Target]] = []
    problems: list[str] = []
    for path, place in attributes.items():
        there = targets.exactly(*_place(path, place)) or targets.plainly(*place)
        if len(there) != 1:
            problems.append(f"{path!r} is {place}, which the model does not have once")
        found += [(path, target) for target in there]
    named = {id(target) for _, target in found}
    rest = [target.shown for target in targets.all if id(target) not in named]
    problems += [f"{name!r} of the model has no path" for name in rest]
    if problems:
        raise CheckpointMismatchError(
            "`attributes` and the model do not have the same variables:\n  "
            + "\n  ".join(problems)
            + "\nGive each variable of the model one path."
        )
    return found


def _place(path: str, place: object) -> Place:
    if isinstance(place, (tuple, list)) and len(place) == 2:
        module, name = place
        if isinstance(module, str) and isinstance(name, str):
            return module, name
    raise CheckpointError(
        f"`attributes[{path!r}]` must be path of the module and name, such as ('linear', 'w'), but"
        f" is {place!r}."
    )
