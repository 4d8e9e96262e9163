"""Which rule holds for which module."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from purestate._core.errors import kind_of
from purestate._rules.errors import RuleError
from purestate._rules.pattern import fits, near, parts_of
from purestate._rules.rule import OPS, Rule

ALONE = ("axes", "out_sharding", "remat")
"""Kinds of rules that hold for the modules that a pattern fits, and not for those within."""


CHECKED = ("axes", "ops", "freeze", "fp8_training", "out_sharding", "quantize")
"""Kinds of rules that are an error if they decide nothing."""


class Found(NamedTuple):
    """A rule that holds for a module: what it says, for which path, and by which pattern."""

    kind: str
    value: Any
    pattern: str
    path: str


class RuleBook:
    """Patterns with their rules, and answers about them.

    Args:
      rules: {pattern: a rule or several}.

    Raises:
      RuleError: it is something else.
    """

    def __init__(self, rules: Mapping[str, Rule | Sequence[Rule]]):
        if not isinstance(rules, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RuleError(
                "ps.configured takes {pattern: rules}, such as {'encoder/**': ps.rules.freeze()},"
                f" but got {kind_of(rules)}."
            )
        self.rules: dict[str, tuple[Rule, ...]] = {}
        for pattern, given in rules.items():
            several = (given,) if isinstance(given, Rule) else tuple(given)
            for rule in several:
                if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise RuleError(
                        f"ps.configured: for {pattern!r} a rule is needed, such as"
                        f" ps.rules.freeze(), or a list of rules; got {kind_of(rule)}."
                    )
            self.rules[pattern] = several
        self.visited: dict[str, type[Any]] = {}
        self.used: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str], Found | None] = {}
        # One entry for each thing that a rule decides: two of one kind for one module clash.
        self._entries = [
            (pattern, kind, value)
            for pattern, several in self.rules.items()
            for rule in several
            for kind, value in _decided(rule)
        ]
        self.kinds = {kind for _, kind, _ in self._entries}

    def for_a_run(self) -> "RuleBook":
        """Returns a book of the same rules, which shares the answers, to note one run in."""
        book = copy.copy(self)
        book.visited, book.used = {}, set()
        return book

    def found(self, kind: str, path: str) -> Found | None:
        """Returns the rule of a kind that holds for a module; None without one.

        That of the module itself counts more than that of a module around it.

        Args:
          kind: such as "freeze", "ops dot_general" or "axes w".
          path: the path of the module.

        Raises:
          RuleError: two patterns that fit the module say different things.
        """
        if kind not in self.kinds:
            return None
        if (kind, path) not in self._known:
            self._known[kind, path] = self._find(kind, path)
        found = self._known[kind, path]
        if found is not None:
            self.used.add((found.pattern, kind))
        return found

    def _find(self, kind: str, path: str) -> Found | None:
        fitting = [
            (pattern, value)
            for pattern, of_kind, value in self._entries
            if of_kind == kind and fits(pattern, path)
        ]
        for pattern, value in fitting[1:]:
            if value != fitting[0][1]:
                raise RuleError(
                    f"Two rules for {path!r} clash: {fitting[0][0]!r} says"
                    f" {told(kind, fitting[0][1])}, and {pattern!r} says {told(kind, value)}. Make"
                    " one of the patterns narrower, so that it does not fit this module, or leave"
                    " one rule out."
                )
        if fitting:
            return Found(kind, fitting[0][1], fitting[0][0], path)
        outer = "/".join(parts_of(path)[:-1])
        if not outer or kind.partition(" ")[0] in ALONE:
            return None
        return self._find(kind, outer)

    def check_patterns(self, others: Iterable[str] = (), hint: str = "") -> None:
        """Raises if a pattern fits neither a module that has run nor one of the others.

        Args:
          others: paths of modules that exist, though they did not run.
          hint: what the message ends with.
        """
        known = [*self.visited, *(path for path in others if path not in self.visited)]
        for pattern in self.rules:
            if not any(fits(pattern, path) for path in known):
                close = near(pattern, known)
                paths = close or known[:10]
                there = "Near it:" if close else "These exist:"
                raise RuleError(
                    f"No module fits the pattern {pattern!r}. {there}"
                    f" {', '.join(map(repr, paths)) or 'only functions'}. `*` stands for a part"
                    f" of a path, `**` for any number of parts.{hint}"
                )

    def check_all_fit(self) -> None:
        """Raises if a pattern fits no module that has run, or a rule decided nothing."""
        self.check_patterns()
        for pattern, kind, value in self._entries:
            checked = kind.partition(" ")[0] in CHECKED
            if checked and (pattern, kind) not in self.used:
                inside = [path for path in self.visited if fits(pattern, path)]
                raise RuleError(
                    f"The rule {told(kind, value)} for {pattern!r} has changed nothing:"
                    f" {inside[0]!r} has nothing of that kind, or narrower patterns decide it."
                    " Leave the rule out, or correct its pattern or its names."
                )

    def of_module(self, path: str) -> list[Found]:
        """Returns all that holds for a module, for a report."""
        used = set(self.used)
        found = [self.found(kind, path) for kind in sorted(self.kinds)]
        self.used = used
        return [one for one in found if one is not None]


def _decided(rule: Rule) -> list[tuple[str, Any]]:
    """What a rule decides, each part by itself: the operations, the parameters."""
    if rule.kind == "ops":
        return [(f"ops {OPS[name]}", value) for name, value in rule.options.items()]
    if rule.kind == "axes":
        return [(f"axes {name}", value) for name, value in rule.options.items()]
    if rule.kind == "freeze":
        return [("freeze", rule.options.get("frozen", True))]
    if rule.kind == "out_sharding":
        return [("out_sharding", rule.options["spec"])]
    return [(rule.kind, rule)]


def told(kind: str, value: Any) -> str:
    """Returns a decision as somebody would write the rule."""
    kind, _, name = kind.partition(" ")
    if isinstance(value, Rule):
        return repr(value).removeprefix("ps.rules.")
    if kind == "freeze":
        return "freeze()" if value else "freeze(False)"
    shown = getattr(value, "__name__", None) or repr(value)
    short = {operation: short for short, operation in OPS.items()}.get(name, name)
    return f"{kind}({short}={shown})" if short else f"{kind}({shown})"
