"""The ledger: facts that a run leaves in its frame, and that a run on shapes leaves no trace of."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core.frame import get_frame
from purestate._core.ledger import Ledger
from purestate._lifted.lift_frame import Lifted

FACTS = {
    "built": lambda built: built.update({("once", "net", "start"): True}),
    "dtypes": lambda facts: facts.update({("net", "w"): jnp.float32}),
    "labels": lambda facts: facts.update({("net", "mean"): "batch_stats"}),
    "inner_labels": lambda facts: facts.append({("net", "mean"): "batch_stats"}),
    "draws": lambda facts: facts.update({(0, "net"): 3}),
    "set_up": lambda facts: facts.update({1: object()}),
    "updaters": lambda facts: facts.update({1: object()}),
    "recreated": lambda facts: facts.append("'net/count'"),
    "unsynced": lambda facts: facts.append("net"),
}


def test_each_kind_of_fact_is_tested_here():
    assert set(FACTS) == set(Ledger.__slots__)


@pytest.mark.parametrize("kind", FACTS)
def test_it_begins_without_facts(kind):
    assert not getattr(Ledger(), kind)


@pytest.mark.parametrize("kind", FACTS)
def test_a_copy_has_the_facts_and_gets_no_later_ones(kind):
    ledger = Ledger()
    FACTS[kind](getattr(ledger, kind))
    copy = ledger.copy()
    assert getattr(copy, kind) == getattr(ledger, kind)

    getattr(ledger, kind).clear()
    assert getattr(copy, kind)


@pytest.mark.parametrize("kind", FACTS)
def test_the_original_gets_no_facts_of_a_copy(kind):
    ledger = Ledger()
    FACTS[kind](getattr(ledger.copy(), kind))
    assert not getattr(ledger, kind)


class Net(ps.SetUpModule):
    def set_up(self, x):
        self.linear = ps.Linear(2)

    def forward(self, x):
        ps.variable("cache", "last", [], init=jnp.zeros)
        return self.linear(x) + jax.random.normal(ps.next_rng_key(), [2])


def test_a_run_leaves_facts():
    def f(x):
        out = Net()(x)
        ledger = get_frame("this test").ledger
        assert set(ledger.dtypes) == {
            ("net/~set_up/linear", "w"),
            ("net/~set_up/linear", "b"),
        }
        assert ledger.labels == {("net", "last"): "cache"}
        assert list(ledger.draws.values())
        assert len(ledger.set_up) == 1
        return out

    ps.transform_with_state(f, rng_mode="path").init(jax.random.key(0), jnp.ones([3]))


def test_a_run_on_shapes_leaves_none():
    def f(x):
        net = Net()
        frame = get_frame("this test")
        ledger = frame.ledger
        Lifted(net, frame).look(x)
        assert frame.ledger is ledger
        assert not any(getattr(ledger, kind) for kind in FACTS)
        return net(x)

    ps.transform_with_state(f, rng_mode="path").init(jax.random.key(0), jnp.ones([3]))


def test_facts_of_a_run_on_shapes_go_when_it_fails():
    def fails(x):
        Net()(x)
        raise KeyError("stop")

    def f(x):
        frame = get_frame("this test")
        ledger = frame.ledger
        with pytest.raises(KeyError, match="stop"):
            Lifted(fails, frame).look(x)
        assert frame.ledger is ledger
        assert not any(getattr(ledger, kind) for kind in FACTS)

    ps.transform_with_state(f, rng_mode="path").init(jax.random.key(0), jnp.ones([3]))


@pytest.mark.parametrize("run", ["one", "two"])
def test_a_run_begins_without_the_facts_of_the_one_before(run):
    """One run may request a parameter with one kind of dtype; two runs may differ."""
    f = ps.transform(
        lambda *dtypes: [ps.get_parameter("w", [], dtype, init=jnp.ones) for dtype in dtypes]
    )
    if run == "two":
        params = f.init(None, jnp.float32)
        assert f.apply(params, None, jnp.float32)[0].dtype == jnp.float32
        assert f.init(None, jnp.int32)["~"]["w"].dtype == jnp.int32
        return
    with pytest.raises(ps.errors.DtypeMismatchError, match="'w' of '~'.*float32.*int32"):
        f.init(None, jnp.float32, jnp.int32)
