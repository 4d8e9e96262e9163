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
    missing = {value for case in cases for value in case.items()}
    taken: Counter[frozenset[tuple[str, Hashable]]] = Counter()
    chosen: list[int] = []

    def worth(place: int) -> tuple[int, int]:
        pairs = map(frozenset, itertools.combinations(cases[place].items(), 2))
        return len(missing & cases[place].items()), -sum(taken[pair] for pair in pairs)

    while missing:
        best = max(range(len(cases)), key=worth)
        chosen.append(best)
        missing -= cases[best].items()
        taken.update(map(frozenset, itertools.combinations(cases[best].items(), 2)))
    return sorted(chosen)
