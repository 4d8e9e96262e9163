"""Settings: a default for the process, and blocks that hold for their own thread or task."""

import threading

import jax
import pytest

import purestate as ps
from purestate._core.config import get_config


@pytest.fixture(autouse=True)
def _defaults_again():
    before = {
        name: getattr(get_config(), name)
        for name in ("rng_reserve_size", "leaks", "check_jax_usage")
    }
    yield
    ps.config.set(**before)


def seen():
    return get_config().rng_reserve_size, get_config().leaks


def test_blocks_nest_and_end():
    with ps.config.context(rng_reserve_size=3):
        with ps.config.context(leaks="warn"):
            assert seen() == (3, "warn")
        assert seen() == (3, "error")
        with ps.config.context(rng_reserve_size=5):
            assert seen() == (5, "error")
        assert seen() == (3, "error")
    assert seen() == (1, "error")


def test_set_inside_a_block_lasts_to_its_end():
    with ps.config.context(leaks="warn"):
        ps.config.set(rng_reserve_size=4)
        with ps.config.context(leaks="off"):
            ps.config.set(rng_reserve_size=6)
            assert seen() == (6, "off")
        assert seen() == (4, "warn")
    assert seen() == (1, "error")


def test_set_outside_holds_for_other_threads_and_a_block_does_not():
    found = []
    ps.config.set(rng_reserve_size=7)
    with ps.config.context(leaks="off"):
        thread = threading.Thread(target=lambda: found.append(seen()))
        thread.start()
        thread.join()
    assert found == [(7, "error")]


def test_a_block_ends_when_something_is_raised_in_it():
    with pytest.raises(KeyError), ps.config.context(rng_reserve_size=3):
        raise KeyError
    assert seen() == (1, "error")


def test_a_setting_without_meaning_changes_nothing():
    for wrong in (
        {"rng_reserve_size": 0},
        {"leaks": "ignore"},
        {"leaks": 3},
        {"check_jax_usage": "yes"},
    ):
        with pytest.raises(ps.errors.ConfigError):
            ps.config.set(**wrong)
        with pytest.raises(ps.errors.ConfigError):
            ps.config.context(**wrong).__enter__()
    assert seen() == (1, "error")
    assert get_config().check_jax_usage is False


def test_the_reserve_is_split_off_at_once():
    one = jax.make_jaxpr(lambda key: next(ps.PRNGSequence(key)))(jax.random.key(0))
    with ps.config.context(rng_reserve_size=4):
        four = jax.make_jaxpr(lambda key: next(ps.PRNGSequence(key)))(jax.random.key(0))
    assert "shape=(2,)" in str(one)
    assert "shape=(5,)" in str(four)
