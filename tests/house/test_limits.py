"""The house stays within its limits (`limits.py`), and its English within those of `WORD_LIMITS`."""

import pytest

from tests.house import words
from tests.house.limits import LIMITS, WORD_LIMITS, Limit
from tests.house.measure import ROOT, House


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_limit(limit: Limit, house: House):
    measured, why = limit.measure(house)
    shown = "\n  ".join([*why[:40], *(["..."] if len(why) > 40 else [])])
    bound = "at least" if limit.at_least else "at most"
    assert limit.holds(measured), f"{limit.name}: {measured}, {bound} {limit.limit}.\n  {shown}"


def test_every_word_has_a_limit():
    assert list(WORD_LIMITS) == list(words.WORDS)


@pytest.mark.parametrize("word", words.WORDS)
def test_word(word: str):
    found = words.count(word, ROOT)
    limit = WORD_LIMITS[word]
    shown = "\n  ".join(f"{page}: {times}" for page, times in list(found.items())[:20])
    assert sum(found.values()) <= limit, (
        f"{word!r} stands {sum(found.values())} times in the English of the house, at most {limit}."
        f" Say it otherwise:\n  {shown}"
    )
