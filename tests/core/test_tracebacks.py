"""Tracebacks: they show the user's functions, and none of purestate's own."""

import contextlib
import os
import traceback
import types

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core.tracebacks import without_our_frames

OURS = os.path.dirname(ps.__file__) + os.sep
# Python adds a frame for each `raise` on the way out, so the last one cannot hide itself.
LAST = (f"{OURS}_core{os.sep}pairs.py", "__call__")


@contextlib.contextmanager
def filtering(mode):
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", mode)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_filtering", before)


class Net(ps.Module):
    def __call__(self, x):
        return helper(ps.Linear(2)(x))


def helper(x):
    raise KeyError("the user's own")


def forward(x):
    return Net()(x)


def files_and_names(error):
    return [(f.filename, f.name) for f in traceback.extract_tb(error.__traceback__)]


def error_of(call, *args):
    with pytest.raises(BaseException) as caught:  # noqa: B017
        call(*args)
    return caught.value


RUNS = {
    "init": lambda: ps.transform(forward).init(jax.random.key(0), jnp.ones([3])),
    "with state": lambda: ps.transform_with_state(forward).init(jax.random.key(0), jnp.ones([3])),
    "collections": lambda: ps.transform_with_collections(forward).init(
        jax.random.key(0), jnp.ones([3])
    ),
    "apply": lambda: ps.transform(lambda x: helper(x)).apply({}, None, jnp.ones([3])),
}


@pytest.mark.parametrize("run", RUNS)
def test_only_frames_of_the_user_are_left(run):
    error = error_of(RUNS[run])
    assert [frame for frame in files_and_names(error) if frame[0].startswith(OURS)] == [LAST]
    names = [name for _, name in files_and_names(error)]
    assert names[-1] == "helper"
    if run != "apply":
        assert names[-3:] == ["forward", "__call__", "helper"]  # outermost first, as called


@pytest.mark.parametrize("mode", ["off", "tracebackhide", "remove_frames"])
def test_jax_says_whether_they_are_left(mode):
    with filtering(mode):
        error = error_of(RUNS["init"])
    ours = [frame for frame in files_and_names(error) if frame[0].startswith(OURS)]
    assert (ours != [LAST]) == (mode == "off")
    assert files_and_names(error)[-1][1] == "helper"


def test_an_error_of_purestate_points_to_the_line_that_caused_it():
    def f():
        ps.get_parameter("w", [2], init=jnp.ones)
        return ps.get_parameter("w", [3], init=jnp.ones)

    error = error_of(lambda: ps.transform(f).init(None))
    assert isinstance(error, ps.errors.PurestateError)
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.name) == (__file__, "f")
    assert last.line == 'return ps.get_parameter("w", [3], init=jnp.ones)'


def test_it_stays_the_same_error():
    cause = ValueError("cause")

    def fails():
        error = KeyError("stop")
        error.add_note("a note")
        raise error from cause

    try:
        fails()
    except KeyError as error:
        found = without_our_frames(error)
        assert found is error
        assert found.__cause__ is cause
        assert found.__notes__ == ["a note"]
        assert [name for _, name in files_and_names(found)] == [
            "test_it_stays_the_same_error",
            "fails",
        ]


def test_an_error_that_was_not_raised_has_no_traceback():
    assert without_our_frames(KeyError("x")).__traceback__ is None


def raised_in(file):
    """Returns an error that was raised in a function of a file of that name."""
    space = types.ModuleType("user").__dict__
    exec(compile("def f():\n    raise KeyError('x')\n", file, "exec"), space)
    return error_of(space["f"])


def test_a_folder_whose_name_only_begins_like_ours_is_the_users():
    error = without_our_frames(raised_in(OURS.rstrip(os.sep) + "_of_mine/net.py"))
    assert files_and_names(error)[-1][1] == "f"
    error = without_our_frames(raised_in(OURS + "net.py"))
    assert files_and_names(error)[-1][1] != "f"
