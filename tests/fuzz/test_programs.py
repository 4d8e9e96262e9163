"""Random programs agree with dm-haiku, or the disagreement is of a known class; see `classes.py`."""

import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.classes import UNKNOWN, classify
from tests.fuzz.programs import features, programs

# One program for each class, so that each is known to be found; and what should be said of it.
KNOWN = {
    "identical": (
        "eager",
        "typed",
        (("layer", "mlp", None), ("state", "write, read", "w"), ("draw", "next")),
    ),
    "identical, with a SharedKeyWarning": (
        "eager",
        "raw",
        (("plain", "vmap", (("draw", "next"),)),),
    ),
    "both raise: JaxUsageError, dm-haiku UnexpectedTracerError": (
        "trace",
        "raw",
        (("plain", "jit", (("layer", "linear", None),)),),
    ),
    "both raise: BatchedStateError, dm-haiku ValueError": (
        "trace",
        "int",
        (("lifted", "vmap split in init", "function", (("layer", "linear", "a"),)),),
    ),
    "dm-haiku refuses branches that make variables of their own": (
        "trace",
        "typed",
        (("branches", "cond", "data", ((("layer", "linear", None),), (("layer", "mlp", "net"),))),),
    ),
    "dm-haiku refuses modules made in the body of a loop": (
        "trace",
        "int",
        (("lifted", "scan", "function", (("layer", "linear", None),)),),
    ),
    "dm-haiku gives modules at two places one set of weights": (
        "eager",
        "int",
        (("lifted", "vmap", "again", (("layer", "linear", None),)),),
    ),
    "dm-haiku refuses modules with numbers in their names in the body of a loop": (
        "trace",
        "int",
        (("lifted", "scan", "function", (("layer", "mlp", "net_1"),)),),
    ),
    "dm-haiku's get_params leaves out what was just made inside a transform": (
        "eager",
        "typed",
        (("lifted", "remat", "function", (("param", "int", None), ("look",))),),
    ),
    "dm-haiku returns dead tracers (JaxUsageError)": (
        "eager",
        "int",
        (("plain", "grad", (("state", "write", "w"),)),),
    ),
    "dm-haiku's init returns a later state of a layer_stack that runs more than once": (
        "trace",
        "typed",
        (
            (
                "lifted",
                "scan",
                "module",
                (("lifted", "layer_stack", "function", (("state", "write, read", "w"),)),),
            ),
        ),
    ),
    "dm-haiku names modules otherwise after a transform than without it": (
        "eager",
        "typed",
        (
            ("lifted", "grad", "function", (("layer", "linear", "net_1"),)),
            ("layer", "linear", "net"),
        ),
    ),
    "dm-haiku keeps dead tracers in keys (JaxUsageError)": (
        "eager",
        "int",
        (("plain", "jit", (("draw", "next"),)),),
    ),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_class_is_told(kind):
    assert classify(KNOWN[kind]) == kind


# What the fuzz found, and what came of it.
FOUND = {
    "identical": (
        "trace",
        "int",
        (("lifted", "optimize_rng_use", "again", (("draw", "with_rng"),)),),
    ),
    "both raise: JaxUsageError, dm-haiku UnexpectedTracerError": (
        "eager",
        "raw",
        (("plain", "scan", (("lifted", "remat", "function", (("layer", "linear", "a"),)),)),),
    ),
    "dm-haiku returns dead tracers (JaxUsageError)": (
        "eager",
        "raw",
        (("plain", "jit", (("lifted", "grad", "function", (("state", "write", "w"),)),)),),
    ),
    "both raise: BatchedStateError, dm-haiku ValueError": (
        "trace",
        "typed",
        (
            (
                "lifted",
                "vmap",
                "function",
                (("branches", "cond", "data", ((("draw", "next"),), (("look",),))),),
            ),
        ),
    ),
}


@pytest.mark.parametrize("kind", FOUND)
def test_found(kind):
    assert classify(FOUND[kind]) == kind


def check_random_programs(count):
    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def check(program):
        kind = classify(program)
        assert not kind.startswith(UNKNOWN), kind

    check()


def test_some_random_programs():
    check_random_programs(30)


@pytest.mark.slow
def test_random_programs():
    check_random_programs(300)


def test_a_changed_result_is_found(monkeypatch):
    """The fuzz sees what it should: here layers with other first values."""
    import purestate as ps

    zeros = lambda self, shape, dtype: jnp.zeros(shape, dtype)
    monkeypatch.setattr(ps.initializers.TruncatedNormal, "__call__", zeros)
    assert classify(KNOWN["identical"]).startswith(UNKNOWN)


def test_features_are_told():
    branches = ("branches", "cond", "true", ((("look",),), (("look",),)))
    found = features(("eager", "raw", (("lifted", "scan", "again", (branches,)),)))
    assert {
        "mode eager",
        "key raw",
        "lifted scan again",
        "branches cond",
        "look",
        "depth 2",
        "transform in transform",
    } <= found
