"""`init` and `apply` have the signature of the function, with what they take before it."""

import inspect

import pytest

import purestate as ps


def forward(x: int, /, y: str, *rest: float, scale: bool = True, **options: bytes) -> complex:
    return 1j


def plain(x, y=2):
    return x


def parts(function):
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default, p.annotation) for p in signature.parameters.values()]


PAIRS = {
    "transform": (ps.transform, ["rng"], ["params", "rng"]),
    "transform_with_state": (ps.transform_with_state, ["rng"], ["params", "state", "rng"]),
    "without_state": (
        lambda f: ps.without_state(ps.transform_with_state(f)),
        ["rng"],
        ["params", "rng"],
    ),
    "with_empty_state": (
        lambda f: ps.with_empty_state(ps.transform(f)),
        ["rng"],
        ["params", "state", "rng"],
    ),
    "without_apply_rng": (
        lambda f: ps.without_apply_rng(ps.transform(f)),
        ["rng"],
        ["params"],
    ),
    "without_apply_rng with state": (
        lambda f: ps.without_apply_rng(ps.transform_with_state(f)),
        ["rng"],
        ["params", "state"],
    ),
}


@pytest.mark.parametrize("f", [forward, plain], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_what_the_function_takes_comes_last(name, f):
    make, before_init, before_apply = PAIRS[name]
    pair = make(f)
    for function, before in ((pair.init, before_init), (pair.apply, before_apply)):
        found = parts(function)
        assert [name for name, *_ in found[: len(before)]] == before
        assert found[len(before) :] == parts(f)


def test_what_apply_returns():
    returns = lambda f: inspect.signature(f).return_annotation
    assert returns(ps.transform(forward).apply) is complex
    assert returns(ps.transform_with_state(forward).apply).__args__[0] is complex


def test_collections_have_mutable_among_the_keywords():
    found = parts(ps.transform_with_collections(forward).apply)
    assert [name for name, *_ in found] == [
        "variables", "rng", "x", "y", "rest", "scale", "mutable", "options"
    ]  # fmt: skip
    (mutable,) = (part for part in found if part[0] == "mutable")
    assert mutable[1:3] == (inspect.Parameter.KEYWORD_ONLY, False)


def test_a_function_without_a_signature():
    f = ps.transform(min)
    assert [name for name, *_ in parts(f.apply)] == ["params", "rng", "args", "kwargs"]
    assert f.apply({}, None, 3, 2) == 2


def test_an_argument_of_the_same_name_is_told_once():
    f = ps.transform(lambda params, x: (params, x))
    assert [name for name, *_ in parts(f.apply)] == ["params", "rng", "x"]
    assert f.apply({}, None, 1, x=2) == (1, 2)
