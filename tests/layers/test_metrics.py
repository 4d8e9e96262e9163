"""Metrics: the numbers of treex 0.6.12, sums by hand, masks, reset, replicas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

m = ps.metrics
# Input, mean, count and total, as treex 0.6.12 prints them.
CALLS = [
    (jnp.array([[1.0, 2.0], [3.0, 4.0]]), 2.5, 4, 10.0),
    (jnp.array([10.0, 20.0]), 6.6666665, 6, 40.0),
    (jnp.array(5.0), 6.428571, 7, 45.0),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_mean_has_the_numbers_of_treex(compiled):
    f = ps.transform_with_state(lambda x: m.Mean()(x))
    params, state = f.init(None, jnp.full([3], 7.0))
    assert params == {}
    first = {"mean": {"count": 0, "total": 0.0}}
    assert state == first
    apply = jax.jit(f.apply) if compiled else f.apply
    given = state
    for x, mean, count, total in CALLS:
        out, state = apply({}, state, None, x)
        np.testing.assert_allclose(out, mean, rtol=1e-6)
        assert state["mean"]["count"] == count
        assert state["mean"]["total"] == total
        assert state["mean"]["count"].dtype == jnp.int32
        assert state["mean"]["total"].dtype == jnp.float32
    assert given == first
    assert float(apply({}, given, None, CALLS[0][0])[0]) == 2.5


def test_sum_and_accuracy_by_hand():
    rng = np.random.default_rng(0)
    batches = [
        (rng.normal(size=(n, 2, 5)), rng.integers(0, 5, (n, 2)), rng.random((n, 2)) < 0.5)
        for n in (3, 1, 4)
    ]

    def f(logits, labels, mask):
        total = m.Sum()(logits[..., 0], mask)
        return (
            total,
            m.Accuracy()(logits, labels, mask),
            m.Accuracy()(logits.argmax(-1), labels),
            m.Mean()(logits[..., 0], mask),
        )

    g = ps.transform_with_state(f)
    _, state = g.init(None, *map(jnp.asarray, batches[0]))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state))
    for batch in batches:
        out, state = g.apply({}, state, None, *map(jnp.asarray, batch))
    logits, labels, masks = (np.concatenate([batch[i] for batch in batches]) for i in range(3))
    right = logits.argmax(-1) == labels
    expected = (
        logits[..., 0][masks].sum(),
        right[masks].mean(),
        right.mean(),
        logits[..., 0][masks].mean(),
    )
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    assert state["accuracy"]["count"] == masks.sum()
    assert state["accuracy_1"]["correct"] == right.sum()
    assert state["accuracy"]["correct"].dtype == jnp.int32


def test_reset_and_compute():
    def f(x, begin):
        mean = m.Mean()
        if begin:
            mean.reset()
        before = mean.compute()
        return before, mean(x), mean.compute()

    g = ps.transform_with_state(f)
    _, state = g.init(None, jnp.ones([2]), True)
    (before, out, after), state = g.apply({}, state, None, jnp.array([1.0, 3.0]), False)
    assert np.isnan(before)
    assert float(out) == float(after) == 2
    (before, out, _), state = g.apply({}, state, None, jnp.array([6.0]), False)
    assert (float(before), float(out)) == (2, pytest.approx(10 / 3))
    (before, out, _), state = g.apply({}, state, None, jnp.array([6.0]), True)
    assert np.isnan(before)
    assert float(out) == 6
    assert state["mean"]["count"] == 1


@pytest.mark.parametrize("metric", [m.Mean, m.Accuracy])
def test_nothing_seen_is_nan(metric):
    assert np.isnan(ps.transform_with_state(lambda: metric().compute()).apply({}, None, None)[0])
    assert float(ps.transform_with_state(lambda: m.Sum().compute()).apply({}, None, None)[0]) == 0


def test_multi_metric():
    def f(logits, labels, loss):
        metrics = m.MultiMetric(loss=m.Mean(), accuracy=m.Accuracy(), seen=m.Sum())
        metrics(loss=loss, accuracy=(logits, labels))
        return metrics(seen={"values": jnp.ones([3]), "mask": jnp.array([True, False, True])})

    g = ps.transform_with_state(f)
    logits, labels, loss = (
        jnp.array([[2.0, 1.0], [0.0, 5.0]]),
        jnp.array([0, 0]),
        jnp.array([0.5, 1.5]),
    )
    _, state = g.init(None, logits, labels, loss)
    out, state = g.apply({}, state, None, logits, labels, loss)
    out, state = g.apply({}, state, None, logits, jnp.array([0, 1]), jnp.array([4.0]))
    assert {name: float(value) for name, value in out.items()} == {
        "loss": 2.0,
        "accuracy": 0.75,
        "seen": 4.0,
    }

    def reset():
        metrics = m.MultiMetric(loss=m.Mean(), accuracy=m.Accuracy(), seen=m.Sum())
        metrics.reset()

    _, state = ps.transform_with_state(reset).apply({}, state, None)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state))
    with pytest.raises(ps.errors.LayerError, match="there is no 'los', only 'loss'"):
        ps.transform_with_state(lambda: m.MultiMetric(loss=m.Mean())(los=1.0)).apply({}, None, None)


def test_collection():
    f = ps.transform_with_collections(lambda x: m.Mean()(x))
    variables = f.init(None, jnp.ones([2]))
    assert variables["metrics"] == {"mean": {"count": 0, "total": 0.0}}
    assert not variables.get("params")
    out, updated = f.apply(variables, None, jnp.array([1.0, 3.0]), mutable="metrics")
    assert float(out) == 2
    assert updated["metrics"]["mean"]["count"] == 2
    with pytest.raises(ps.errors.PurestateError, match="metrics"):
        f.apply(variables, None, jnp.ones([2]))


def test_replicas_add_up():
    f = ps.transform_with_state(
        lambda x, y: (m.Mean("i")(x), m.Accuracy(cross_replica_axis="i")(y, y * 0))
    )
    x, y = jnp.arange(8.0).reshape(4, 2), jnp.arange(4).reshape(4, 1) % 2
    (mean, accuracy), state = jax.vmap(lambda x, y: f.apply({}, None, None, x, y), axis_name="i")(
        x, y
    )
    assert mean.tolist() == [3.5] * 4
    assert accuracy.tolist() == [0.5] * 4
    assert state["mean"]["count"].tolist() == [8] * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: m.Mean()(jnp.ones([3]), jnp.ones([2], bool)),
            r"Mean 'mean': a mask of shape \(2,\) does not fit values of shape \(3,\)",
        ),
        (
            lambda: m.Mean()(jnp.ones([3]), jnp.ones([3])),
            "has to be of bools, not of float32. Write mask != 0",
        ),
        (
            lambda: m.Accuracy()(jnp.ones([3, 4]), jnp.ones([2], int)),
            r"float32\[3, 4\] and labels int32\[2\]",
        ),
        (
            lambda: m.Accuracy()(jnp.ones([3]), jnp.ones([3], int)),
            r"float32\[3\] and labels int32\[3\]",
        ),
        (
            lambda: m.Accuracy()(jnp.ones([3, 4]), jnp.ones([3, 4])),
            r"integers, but they are float32.*labels.argmax\(-1\)",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.transform_with_state(call).apply({}, None, None)


def test_low_precision_values_are_summed_in_float32():
    f = ps.transform_with_state(lambda x: m.Mean()(x))
    assert float(f.apply({}, None, None, jnp.ones([4096], jnp.bfloat16))[0]) == 1
    assert float(f.apply({}, None, None, jnp.arange(4))[0]) == 1.5


class Largest(m.Metric):
    sums = {"largest": jnp.float32}

    def __call__(self, x):
        self.write(largest=x.max())  # without looking at what was there
        return self.compute()

    def compute(self):
        return self.read("largest")


def test_metric_of_ones_own_begins_empty():
    f = ps.transform_with_state(lambda x: Largest()(x))
    _, state = f.init(None, jnp.array([1.0, 3.0]))
    assert state == {"largest": {"largest": 0.0}}
    assert f.apply({}, state, None, jnp.array([1.0, 3.0]))[1] == {"largest": {"largest": 3.0}}
