import jax
import jax.numpy as jnp
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.deferred import Deferred
from purestate._sonnet.errors import NoVariablesError, SonnetAttributeError


class Scale(snt.Module):
    def __init__(self, factor, name=None):
        super().__init__(name=name)
        self.factor = factor

    @snt.once
    def _initialize(self):
        self.w = snt.Variable(self.factor, name="w")

    def __call__(self, x):
        self._initialize()
        return x * self.w

    def invert(self, x):
        self._initialize()
        return x / self.w


class Pair(snt.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.there = Scale(2.0)
        self.back = Deferred(lambda: Scale(1 / self.there.factor), name="later")

    def __call__(self, x):
        return self.back(self.there(x))


def test_the_module_has_the_name_it_would_have_where_it_is_called():
    f = ps.transform_with_state(lambda x: Pair()(x))
    params, state = f.init(None, 3.0)
    assert jax.tree.map(float, params) == {"pair/scale": {"w": 2.0}, "pair/scale_1": {"w": 0.5}}
    assert jax.jit(f.apply)(params, state, None, 3.0)[0] == 3.0


def test_outside():
    pair = Pair()
    assert pair(3.0) == 3.0
    assert len(pair.variables) == 2
    assert pair.back.target.factor == pair.back.factor == 0.5
    assert repr(pair.back) == f"Deferred({pair.back.target!r})"
    assert str(pair.back) == f"Deferred({pair.back.target})"


def test_the_constructor_runs_once():
    made = []

    def make():
        made.append(1)
        return Scale(2.0)

    deferred = Deferred(make)
    assert not made
    assert deferred.target is deferred.target
    deferred(1.0)
    assert made == [1]


def test_a_constructor_that_raises_is_tried_again():
    answers = iter([None, Scale(2.0)])

    def make():
        made = next(answers)
        if made is None:
            raise RuntimeError("not yet")
        return made

    deferred = Deferred(make)
    with pytest.raises(RuntimeError, match="not yet"):
        deferred(1.0)
    assert deferred(1.0) == 2.0


def test_call_methods():
    deferred = Deferred(lambda: Scale(2.0), call_methods=("__call__", "invert"))
    assert deferred.invert(3.0) == 1.5
    plain = Deferred(lambda: Scale(2.0))
    with pytest.raises(SonnetAttributeError, match="not made yet"):
        plain.invert(3.0)
    plain(1.0)
    assert plain.invert(3.0) == 1.5


def test_attributes_are_those_of_the_module_once_it_is_made():
    deferred = Deferred(lambda: Scale(2.0))
    deferred.note = "early"
    assert not hasattr(deferred, "factor")
    target = deferred.target
    deferred.factor = 5.0
    assert target.factor == 5.0
    assert deferred.note == "early"
    del deferred.factor
    assert not hasattr(target, "factor")
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'missing'"):
        deferred.missing  # noqa: B018


def test_variables_before_the_call():
    with pytest.raises(NoVariablesError):
        Deferred(lambda: Scale(2.0)).variables  # noqa: B018


@pytest.mark.parametrize(
    "lift",
    [
        ps.remat,
        lambda f: lambda x: ps.cond(True, f, f, x),
        lambda f: lambda x: ps.scan(lambda carry, y: (carry, f(y)), 0, x)[1],
        lambda f: ps.vmap(f, split_rng=False),
    ],
    ids=["remat", "cond", "scan", "vmap"],
)
def test_it_may_be_made_while_jax_traces(lift):
    f = ps.transform_with_state(lambda x: lift(Deferred(lambda: Scale(2.0)))(x))
    params, state = f.init(None, jnp.ones([2]))
    assert jax.tree.map(float, params) == {"scale": {"w": 2.0}}
    assert f.apply(params, state, None, jnp.ones([2]))[0].tolist() == [2.0, 2.0]
