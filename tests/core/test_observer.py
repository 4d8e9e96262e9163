"""Observers: they see frames, reads, writes and draws, can replace what is read, and leave nothing."""

import threading

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core.frame import get_frame
from purestate._core.observer import Observer, observe, observing

X = jnp.ones([3])


class Notes(Observer):
    """Notes all that it sees, of each frame that begins."""

    def __init__(self):
        self.seen = []

    def began(self, frame):
        self.seen.append("began")
        frame.observers = (*frame.observers, self)

    def read(self, frame, collection, path, name, value, **known):
        self.seen.append(("read", collection, path, name))
        return value

    def wrote(self, frame, collection, path, name, value):
        self.seen.append(("wrote", collection, path, name, float(value)))

    def froze(self, path, name):
        self.seen.append(("froze", path, name))

    def drew(self):
        self.seen.append("drew")


def count():
    value = ps.get_state("count", [], init=jnp.zeros)
    ps.set_state("count", value + 1)
    return jax.random.normal(ps.next_rng_key(), [])


def test_it_sees_a_run_in_order():
    f = ps.transform_with_state(count)
    params, state = f.init(jax.random.key(0))
    notes = Notes()
    with observe(notes):
        f.apply(params, state, jax.random.key(0))
    assert notes.seen == [
        "began",
        ("read", "state", "~", "count"),
        ("wrote", "state", "~", "count", 1.0),
        "drew",
    ]


def test_it_sees_the_collection_the_module_and_what_is_frozen():
    def f(x):
        frozen = ps.Linear(2, with_bias=False, name="encoder")
        with ps.freeze("encoder/*"):
            x = frozen(x)
        cache = ps.variable("cache", "last", [], init=jnp.zeros)
        cache.value = x.sum() * 0 + 3
        return x

    pair = ps.transform_with_collections(f)
    variables = pair.init(jax.random.key(0), X)
    notes = Notes()
    with observe(notes):
        pair.apply(variables, None, X, mutable=["cache"])
    assert ("read", "params", "encoder", "w") in notes.seen
    assert ("froze", "encoder", "w") in notes.seen
    assert ("wrote", "cache", "~", "last", 3.0) in notes.seen
    assert "drew" not in notes.seen


def test_what_it_returns_is_read_and_not_kept():
    class Doubles(Observer):
        def began(self, frame):
            frame.observers = (self,)

        def read(self, frame, collection, path, name, value, **known):
            return 2 * value

    def f():
        ps.set_state("seen", ps.get_parameter("w", [], init=jnp.ones))

    pair = ps.transform_with_state(f)
    params, state = pair.init(None)
    with observe(Doubles()):
        _, state = pair.apply(params, state, None)
    assert float(state["~"]["seen"]) == 2
    assert float(params["~"]["w"]) == 1


def test_a_plain_run_has_none():
    def f():
        assert get_frame("this test").observers == ()

    ps.transform(f).init(None)
    with observe(Observer()):  # one that does not add itself to the frame
        ps.transform(f).init(None)


def test_one_that_overrides_nothing_changes_nothing():
    class Silent(Observer):
        def began(self, frame):
            frame.observers = (self,)

    f = ps.transform_with_state(count)
    params, state = f.init(jax.random.key(0))
    expected = f.apply(params, state, jax.random.key(1))
    with observe(Silent()):
        found = f.apply(params, state, jax.random.key(1))
    assert jax.tree.map(float, found) == jax.tree.map(float, expected)


def test_blocks_are_nested():
    outer, inner = Notes(), Notes()
    run = lambda: ps.transform(lambda: None).init(None)
    with observe(outer):
        run()
        with observe(inner):
            run()
        run()
    run()
    assert (len(outer.seen), len(inner.seen)) == (3, 1)


def test_alone_those_around_it_do_not_see_the_frames():
    outer, inner = Notes(), Notes()
    run = lambda: ps.transform(lambda: None).init(None)
    with observe(outer):
        with observe(inner, alone=True):
            run()
        assert (outer.seen, inner.seen) == ([], ["began"])
        run()
    assert outer.seen == ["began"]


def test_a_run_within_a_run_is_seen_too():
    def inner():
        return ps.get_parameter("w", [], init=jnp.ones)

    def f():
        with observe(notes):
            return ps.transform(inner).init(None)

    notes = Notes()
    ps.transform(f).init(None)
    assert notes.seen[0] == "began"
    assert notes.seen.count("began") == 1


def test_a_block_ends_with_an_error_too():
    notes = Notes()
    with pytest.raises(KeyError), observe(notes):
        raise KeyError("stop")
    assert observing.get() == ()
    ps.transform(lambda: None).init(None)
    assert notes.seen == []


def test_another_thread_is_not_observed():
    notes = Notes()
    with observe(notes):
        thread = threading.Thread(target=lambda: ps.transform(lambda: None).init(None))
        thread.start()
        thread.join()
    assert notes.seen == []
