"""Which cases of a test that crosses several tables are enough to show each entry of each table once."""

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence


def covering(cases: Sequence[Mapping[str, Hashable]]) -> list[int]:
    """Returns the places of cases that have every value of every argument at least once.

    Of those that bring as many new values, it takes the one whose pairs of values were taken least,
    so that each entry of a long table meets another entry of the short ones. A table that is not
    crossed with another is returned in full.

    Example:
      >>> covering([{"row": row, "mode": mode} for row in range(3) for mode in range(2)])
      [0, 3, 4]
    """
    entries = [frozenset(case.items()) for case in cases]
    pairs_of = [
        [frozenset(pair) for pair in itertools.combinations(case.items(), 2)] for case in cases
    ]
    taken: Counter[frozenset[tuple[str, Hashable]]] = Counter()
    missing = set[tuple[str, Hashable]]().union(*entries)
    chosen: list[int] = []
    while missing:
        new = [len(missing & values) for values in entries]
        most = max(new)
        best = min(
            (place for place, count in enumerate(new) if count == most),
            key=lambda place: sum(map(taken.__getitem__, pairs_of[place])),
        )
        chosen.append(best)
        missing -= entries[best]
        taken.update(pairs_of[best])
    return sorted(chosen)


def variants(names: Sequence[str]) -> set[str]:
    """Returns the names that begin with another one, as "linear_no_bias" does with "linear".

    A fast test leaves these to the slow ones.
    """
    return {name for name in names if any(name.startswith(f"{other}_") for other in names)}
