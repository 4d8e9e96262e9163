"""Public types are those of what comes out, and functions that few programs call are dm-haiku's."""

import collections.abc
import typing

import haiku
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([2, 3])
PADDINGS = ["valid", "same", "full", "causal", "reverse_causal"]


@pytest.mark.parametrize("name", PADDINGS)
@pytest.mark.parametrize("kernel", [1, 2, 5])
def test_padding_functions(name, kernel):
    ours: ps.pad.PadFn = getattr(ps.pad, name)
    theirs = getattr(haiku.pad, name)
    assert ps.pad.is_padfn(ours)
    assert ours(kernel) == theirs(kernel)
    made = [
        library.pad.create_from_padfn(f, kernel=(kernel, 3), rate=2, n=2)
        for library, f in ((ps, ours), (haiku, theirs))
    ]
    assert made[0] == made[1]


def test_reverse_causal_looks_ahead():
    assert ps.pad.reverse_causal(5) == (0, 4)
    assert not ps.pad.is_padfn((0, 4))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW", "N...C", "NC...", "channels_last"])
def test_where_the_channels_are(data_format):
    expected = haiku.get_channel_index(data_format)
    assert ps.get_channel_index(data_format) == expected


def test_edits_and_problems():
    assert isinstance(ps.surgery.rename({"a": X}, "a", "b"), ps.surgery.Edited)
    f = ps.transform(lambda x: ps.Linear(2)(x))
    with pytest.raises(ps.errors.CheckError) as caught:
        ps.check(f)({}, None, X)
    assert {type(problem) for problem in caught.value.problems} == {ps.Problem}


def test_contexts_of_hooks():
    seen = []

    def getter(next_getter, value, context):
        seen.append(type(context))
        return next_getter(value)

    def setter(next_setter, value, context):
        seen.append(type(context))
        return next_setter(value)

    def f(x):
        with ps.custom_getter(getter), ps.custom_setter(setter):
            ps.set_state("last", x)
            return ps.Linear(2, with_bias=False)(x)

    ps.transform_with_state(f).init(ps.PRNGSequence(0).take(1)[0], X)
    assert seen == [ps.SetterContext, ps.experimental.ParamContext]


def test_rows_of_a_summary():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    (invocation,) = [
        each
        for each in ps.experimental.eval_summary(f)(X)
        if each.module_details.module is not None
    ]
    assert isinstance(invocation, ps.experimental.MethodInvocation)
    assert isinstance(invocation.module_details, ps.experimental.ModuleDetails)


def test_lifting():
    inner = ps.transform_with_state(lambda x: ps.Linear(2)(x))

    def f(x):
        _, updater = ps.lift_with_state(inner.init)
        updater.ignore_update()
        return updater

    out, _ = ps.transform_with_state(f).apply({}, {}, None, X)
    assert isinstance(out, ps.LiftWithStateUpdater)
    assert typing.get_origin(ps.Params) is collections.abc.Mapping
    for names in ("stacked_to_flat", "flat_to_stacked"):
        assert callable(getattr(ps.LayerStackTransparencyMapping, names))
