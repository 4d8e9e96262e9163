"""The classes of errors: one tree, as the page draws it, and each also the builtin error users catch."""

import pickle
import re

import pytest

import purestate as ps
from purestate._core.errors import CALL_ERRORS, kind_of


def drawn():
    """The tree that the module draws: each class, what it is below, and the builtins in brackets."""
    above = {}
    for line in ps.errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+)(?: \(([\w, ]+)\))?(: .*)?$", line)
        if found is None or not found[2].endswith(("Error", "Warning")):
            continue
        depth = len(found[1]) // 4
        above[depth] = found[2]
        builtins = found[3].split(", ") if found[3] and found[2] != "CallError" else []
        yield found[2], above[depth - 1] if depth else None, builtins


def test_the_tree_is_as_it_is_drawn():
    rows = {name: (above, builtins) for name, above, builtins in drawn()}
    assert sorted(rows) == sorted(ps.errors.__all__)
    for name, (above, builtins) in rows.items():
        bases = [base.__name__ for base in getattr(ps.errors, name).__bases__]
        assert [above or "Exception", *builtins] == bases or (above, *builtins) == (None, *bases), (
            name
        )


def test_every_error_is_ours_and_catchable_as_haikus():
    for name in ps.errors.__all__:
        cls = getattr(ps.errors, name)
        assert issubclass(cls, (ps.errors.PurestateError, ps.errors.PurestateWarning))
        assert cls.__doc__
        if name not in ("PurestateError", "CallError"):
            assert issubclass(
                cls,
                (
                    UserWarning,
                    RuntimeError,
                    ValueError,
                    TypeError,
                    AttributeError,
                    AssertionError,
                    ImportError,
                    IndexError,
                ),
            ), name


@pytest.mark.parametrize("kind", CALL_ERRORS, ids=lambda kind: kind.__name__)
def test_a_call_error_is_also_the_error_that_was_raised(kind):
    error = CALL_ERRORS[kind]("a message of\ntwo lines")
    assert isinstance(error, ps.errors.CallError)
    assert isinstance(error, kind)
    assert str(error) == "a message of\ntwo lines"  # a KeyError would show it in quotes
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


@pytest.mark.parametrize("name", [name for name in ps.errors.__all__ if name != "CallError"])
def test_every_error_can_be_pickled(name):
    cls = getattr(ps.errors, name)
    copy = pickle.loads(pickle.dumps(cls("what went wrong")))
    assert (type(copy), str(copy)) == (cls, "what went wrong")


def test_a_check_error_keeps_its_problems_in_a_pickle():
    error = ps.errors.CheckError("two things", ("a", "b"))
    assert pickle.loads(pickle.dumps(error)).problems == ("a", "b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        (3, "an int"),
        ([], "a list"),
        (ps.Linear, "the class Linear"),
        (object(), "an object"),
    ],
)
def test_kind_of(value, expected):
    assert kind_of(value) == expected
