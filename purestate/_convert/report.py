"""What a conversion did, and whether its outputs were compared."""

import dataclasses
from typing import Any, NamedTuple

from purestate._convert.names import plain
from purestate._convert.plan import Plan

_HOW = {
    "names": "by `names`",
    "equal names": "by equal names",
    "order": "by the order of creation",
    "shape": "by shapes that occur once",
}


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What a conversion did. Its text is a table of the layers.

    Attributes:
      matches: for each match the names in the other library, the paths in the model, and what
        settled it: "names", "equal names", "order" or "shape".
      tied: layers that were left out, each with the layer that has the same arrays.
      ignored: layers that `names` left out.
      initial: state of the model that the other library has nothing for; it has its initial value.
      difference: the largest difference of the outputs; None if nothing compared them.
    """

    matches: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...]
    tied: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()
    difference: float | None = None

    @property
    def verified(self) -> bool:
        """Whether the outputs of the two models were compared."""
        return self.difference is not None

    def counts(self) -> str:
        """Returns how many layers were matched, and how."""
        how = [how for _, _, how in self.matches]
        each = [f"{how.count(k)} {text}" for k, text in _HOW.items() if k in how]
        layers = "1 layer" if len(how) == 1 else f"{len(how)} layers"
        return f"{layers} matched: {', '.join(each)}"

    def __str__(self) -> str:
        lines = [
            f"{', '.join(units)} -> {', '.join(paths)} ({how})"
            for units, paths, how in self.matches
        ]
        lines += [f"{name} has the arrays of {other}" for name, other in self.tied]
        lines += [f"{name} was left out" for name in self.ignored]
        lines += [f"{path} has its initial value" for path in self.initial]
        verdict = (
            "not verified: nothing compared the outputs. Pass check=..."
            if self.difference is None
            else f"verified: the largest difference of the outputs is {self.difference:.3g}"
        )
        return "\n".join([*lines, self.counts(), verdict])


class Converted(NamedTuple):
    """What `from_torch` and the others return.

    Attributes:
      params: the params.
      state: the state; of `ps.transform` an empty dict, and of `ps.transform_with_collections` a
        dict of all collections but "params".
      report: the `ConversionReport`.
    """

    params: Any
    state: Any
    report: ConversionReport


def report_of(plan: Plan) -> ConversionReport:
    """Returns the report of a plan."""
    return ConversionReport(
        tuple((m.units, tuple(plain(t.path) for t in m.targets), m.how) for m in plan.matches),
        tuple(plan.tied.items()),
        tuple(plan.ignored),
        tuple(plain(t.path) for t in plan.initial),
    )
