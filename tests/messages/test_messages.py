"""Every message of purestate: what it says, that a case shows it, and what all of them have in common."""

import difflib
import functools
import re

import pytest

import purestate as ps
import purestate.sonnet as snt
from tests.messages.cases import CASES
from tests.messages.record import Shown, places, read_snapshot, rendered, show

SNAPSHOT = read_snapshot()

UNREACHED = {
    "_views/model.py Model.__getattr__ 1": "Python asks, and takes the name alone for an answer",
    "_views/members.py Member.__getattr__ 1": "Python asks, and takes the name alone for an answer",
    "_views/members.py Member.__signature__ 1": "`inspect` asks, and goes on without",
    "_lifted/carried.py carry_on 2": "`carrying` catches it, and runs the loop again",
    "_views/model.py Model.__signature__ 1": "`inspect` asks, and goes on without",
    **dict.fromkeys(
        [
            "_checkpoint/pickles.py _DType.real 1",
            "_checkpoint/pickles.py _Standin.__setstate__ 1",
            "_checkpoint/pickles.py _to_array 1",
        ],
        "`load_pickle` puts it into a message of its own",
    ),
}
"""Places that no case reaches, and why."""

LONGEST = 1200
"""Letters, without the lines of a list."""

MOST_LINES = 40

PUBLIC = {*dir(ps), *dir(ps.initializers), *dir(ps.nets), *dir(snt), *dir(snt.initializers)}
PUBLIC |= {*dir(snt.regularizers)}


@functools.cache
def shown(name: str) -> Shown:
    return show(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_the_snapshot_says(name):
    expected, found = SNAPSHOT.get(name, ""), rendered(shown(name))
    if expected != found:
        lines = difflib.unified_diff(
            expected.split("\n"), found.split("\n"), "snapshot", "now", lineterm=""
        )
        pytest.fail(
            f"The message of {name!r} is another:\n"
            + "\n".join(lines)
            + "\n\nIs it right? `python -m tests.messages.update`",
            pytrace=False,
        )


def test_the_snapshot_has_no_others():
    assert set(SNAPSHOT) <= set(CASES), "left over: `python -m tests.messages.update`"


def test_each_message_has_a_case():
    reached = {place for name in CASES for place in shown(name).places}
    missing = sorted(str(place) for place in places() - reached)
    assert sorted(set(missing) - set(UNREACHED)) == [], (
        "write a case for each into tests/messages/cases_*.py"
    )
    assert sorted(set(UNREACHED) - set(missing)) == [], (
        "these are reached, or gone: take them out of UNREACHED"
    )


@pytest.mark.parametrize("name", CASES)
def test_each_case_shows_a_message_of_our_own(name):
    assert shown(name).places


def broken_rules(text: str) -> list[str]:
    """What is wrong with a message, going by its form alone."""
    last = text.rpartition("\n")[2]
    first = re.split(r"\W", text)[0]
    rules = {
        "too long": len(re.sub(r"\n  .*", "", text)) > LONGEST or text.count("\n") > MOST_LINES,
        "no stop at the end": not re.search(
            r"[.?)\]]$|^module '\w+' has no attribute '\w+'$", last
        ),
        "a dump of an array": "[[" in text or "Array(" in text or "Traced<" in text,
        "the address of an object": bool(re.search(r" at 0x", text)),
        "a blank too many": "  " in text.replace("\n  ", "\n")
        or " ." in re.sub(r" \.(py|\.)", "", text),
        "nothing that it is about": not (
            first in PUBLIC or re.search(r"['`]|(?:ps|snt)\.|\w+\(|\w_\w", text)
        ),
    }
    return [rule for rule, broken in rules.items() if broken]


@pytest.mark.parametrize("name", CASES)
def test_rules_for_all_messages(name):
    assert [
        broken_rules(message.text) for message in shown(name).messages if broken_rules(message.text)
    ] == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("`f` is wrong." * 100, "too long"),
        ("`f` is wrong:" + "\n  'w' is missing." * 100, "too long"),
        ("`f` is wrong", "no stop at the end"),
        ("`f` got [[1. 2.] [3. 4.]].", "a dump of an array"),
        ("`f` got <function g at 0x>.", "the address of an object"),
        ("`f` is  wrong.", "a blank too many"),
        ("that is wrong.", "nothing that it is about"),
    ],
)
def test_the_rules_find(text, rule):
    assert broken_rules(text) == [rule]


def test_a_place_is_found_again_where_lines_have_moved():
    numbers: dict[tuple[str, str], list[int]] = {}
    for place in places():
        numbers.setdefault((place.file, place.function), []).append(place.number)
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in numbers.values())
    assert len(places()) > 300
