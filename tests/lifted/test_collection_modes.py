"""How collections go through `vmap` and `scan`, against loops by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jax.random.normal(jax.random.key(3), [5, 4, 3])


def norm(x):
    return ps.BatchNorm(True, True, 0.9)(x, is_training=True)


def norm_rows(x, mode):
    bn = ps.BatchNorm(True, True, 0.9)
    collections = None if mode is None else {"batch_stats": mode}
    return ps.vmap(lambda x: bn(x, is_training=True), split_rng=False, collections=collections)(x)


def by_hand():
    """Outputs and states of a batch norm for each row alone, from its first state."""
    f = ps.transform_with_state(norm)
    params, state = f.init(None, X[0])
    return params, state, [f.apply(params, state, None, x) for x in X]


COMBINE = {
    "mean": lambda values: jnp.stack(values).mean(0).astype(values[0].dtype),
    "sum": lambda values: jnp.stack(values).sum(0),
    "first": lambda values: values[0],
    0: lambda values: jnp.stack(values),
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("transform", [ps.transform_with_state, ps.transform_with_collections])
@pytest.mark.parametrize("mode", COMBINE)
def test_vmap(mode, transform, jit):
    if transform is ps.transform_with_state:
        f = ps.transform_with_state(lambda x: norm_rows(x, mode))
        params, state = f.init(None, X)
        out, state = (jax.jit(f.apply) if jit else f.apply)(params, state, None, X)
    else:
        f = ps.transform_with_collections(lambda x: norm_rows(x, mode))
        variables = f.init(None, X)

        def apply(variables, x):
            return f.apply(variables, None, x, mutable="batch_stats")

        out, updated = (jax.jit(apply) if jit else apply)(variables, X)
        state = updated["batch_stats"]
    _, _, rows = by_hand()
    np.testing.assert_allclose(out, jnp.stack([row[0] for row in rows]), rtol=1e-4, atol=1e-5)
    for module, bundle in state.items():
        for name, value in bundle.items():
            values = [row[1][module][name] for row in rows]
            # What is the same for all rows is not combined: a counter stays what it is.
            expected = values[0] if name == "counter" and mode != 0 else COMBINE[mode](values)
            assert value.dtype == expected.dtype
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_each_row_goes_on_with_its_own():
    f = ps.transform_with_state(lambda x: norm_rows(x, 0))
    params, state = f.init(None, X)
    for _ in range(3):
        _, state = f.apply(params, state, None, X)
    alone = ps.transform_with_state(norm)
    for i, x in enumerate(X):
        params, own = alone.init(None, x)
        for _ in range(3):
            _, own = alone.apply(params, own, None, x)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6), state, own
        )


def test_without_a_word_batched_writes_are_an_error():
    with pytest.raises(ps.errors.BatchedStateError) as error:
        ps.transform_with_state(lambda x: norm_rows(x, None)).init(None, X)
    for word in (
        "'batch_norm/~/mean_ema/hidden'",
        "'batch_stats'",
        "'mean'",
        "'sum'",
        "'first'",
        "axis",
    ):
        assert word in str(error.value)
    assert "counter" not in str(error.value)  # which is the same for all rows


@pytest.mark.parametrize("mode", ["meen", "carry", True, 1.5, None])
def test_vmap_knows_its_modes(mode):
    with pytest.raises(ps.errors.CollectionModeError, match="'mean', 'sum', 'first'"):
        ps.transform_with_state(
            lambda x: ps.vmap(norm, split_rng=False, collections={"batch_stats": mode})(x)
        ).init(None, X)


def test_mean_of_integers_is_refused():
    def row(x):
        ps.set_state("n", x.sum().astype(int))

    with pytest.raises(ps.errors.CollectionModeError, match=r"'~/n' has dtype int32"):
        ps.transform_with_state(
            lambda x: ps.vmap(row, split_rng=False, collections={"state": "mean"})(x)
        ).init(None, X)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
def test_ensemble_of_models(axis):
    def ensemble(x):
        return ps.vmap(
            lambda x: ps.nets.MLP([4, 2])(x),
            in_axes=None,
            axis_size=3,
            split_rng=True,
            collections={"params": axis},
        )(x)

    f = ps.transform(lambda x: ps.Linear(2, name="after")(ensemble(ps.Linear(3)(x))))
    x = X[0]
    params = f.init(jax.random.key(0), x)
    assert params["mlp/~/linear_0"]["w"].shape == (3, 3, 4)
    assert params["mlp/~/linear_0"]["b"].shape == ((3, 4) if axis == 0 else (4, 3))
    assert params["linear"]["w"].shape == (3, 3)  # those outside are not mapped
    ws = jnp.moveaxis(params["mlp/~/linear_0"]["w"], axis, 0)
    assert (ws[0] != ws[1]).all()
    h = x @ params["linear"]["w"] + params["linear"]["b"]
    member = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
    inner = {name: bundle for name, bundle in params.items() if "mlp" in name}
    outs = [
        member.apply(jax.tree.map(lambda v, i=i: jnp.take(v, i, axis), inner), None, h)
        for i in range(3)
    ]
    expected = jnp.stack(outs) @ params["after"]["w"] + params["after"]["b"]
    np.testing.assert_allclose(
        f.apply(params, jax.random.key(1), x), expected, rtol=1e-5, atol=1e-6
    )
    grads = jax.grad(lambda p: (f.apply(p, jax.random.key(1), x) ** 2).sum())(params)
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)


def test_slices_have_to_be_as_many_as_rows():
    def f(x):
        return ps.vmap(
            lambda x: ps.Linear(2)(x), split_rng=ps.running_init(), collections={"params": 0}
        )(x)

    g = ps.transform(f)
    params = g.init(jax.random.key(0), X)
    g.apply(params, None, X)
    with pytest.raises(ps.errors.VariableError, match=r"'linear/w'.*needs 4 slices.*\(5, 3, 2\)"):
        g.apply(params, None, X[:4])


# Scan


def layers(x, mode, length=4):
    def body(x, _):
        ps.set_state("mean", x.mean())
        return jnp.tanh(ps.Linear(3)(x)), None

    return ps.scan(body, x, None, length=length, collections={"params": 0, "state": mode})[0]


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("mode", [0, "mean", "sum", "first", "carry"])
def test_scan(mode, length, jit):
    f = ps.transform_with_state(lambda x: layers(x, mode, length))
    x = X[0]
    params, state = f.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == {"linear": {"b": (length, 3), "w": (length, 3, 3)}}
    assert (
        len(np.unique(params["linear"]["w"])) == length * 9
    )  # each layer has first values of its own
    out, state = (jax.jit(f.apply) if jit else f.apply)(params, state, None, x)
    means = []
    for w, b in zip(params["linear"]["w"], params["linear"]["b"], strict=True):
        means.append(x.mean())
        x = jnp.tanh(x @ w + b)
    np.testing.assert_allclose(out, x, rtol=1e-5, atol=1e-6)
    expected = means[-1] if mode == "carry" else COMBINE[mode](means)
    np.testing.assert_allclose(state["~"]["mean"], expected, rtol=1e-4, atol=1e-6)


def test_scan_in_reverse_keeps_each_layer_its_own():
    def f(x, xs):
        body = lambda x, _: (jnp.tanh(ps.Linear(3)(x)), None)
        return ps.scan(body, x, xs, reverse=True, collections={"params": 0})[0]

    g = ps.transform(f)
    x = X[0]
    params = g.init(jax.random.key(0), x, jnp.ones([4]))
    expected = x
    for w, b in zip(params["linear"]["w"][::-1], params["linear"]["b"][::-1], strict=True):
        expected = jnp.tanh(expected @ w + b)
    np.testing.assert_allclose(
        g.apply(params, None, x, jnp.ones([4])), expected, rtol=1e-5, atol=1e-6
    )


def test_scan_broadcast_is_read_only():
    def f(x, write):
        ps.get_state("scale", [], init=jnp.ones)

        def body(c, x):
            scale = ps.get_state("scale", [])
            if write:
                ps.set_state("scale", scale + 1)
            return c, x * scale

        return ps.scan(body, 0, x, collections={"state": "broadcast"})[1]

    g = ps.transform_with_state(f)
    params, state = g.init(None, X, False)
    np.testing.assert_array_equal(g.apply(params, state, None, X, False)[0], X)
    with pytest.raises(
        ps.errors.CollectionModeError, match=r"'~/scale' \(collection 'state'\).*'broadcast'"
    ):
        g.apply(params, state, None, X, True)


def test_steps_read_their_own_state():
    def f(x):
        def body(c, x):
            n = ps.get_state("n", [], init=jnp.zeros)
            ps.set_state("n", n + x.sum())
            return c, n

        return ps.scan(body, 0, x, collections={"state": 0})[1]

    g = ps.transform_with_state(f)
    params, state = g.init(None, X)
    assert state["~"]["n"].tolist() == [0] * 5
    for i in range(3):
        out, state = g.apply(params, state, None, X)
        np.testing.assert_allclose(out, i * X.sum((1, 2)), rtol=1e-4, atol=1e-5)


def test_modes_are_a_dict():
    with pytest.raises(ps.errors.CollectionModeError, match=r"'batch_stats': 'mean'"):
        ps.transform(lambda x: ps.scan(lambda c, x: (c, x), 0, x, collections="mean")).apply(
            {}, None, X
        )


def test_vmap_broadcast_is_read_only():
    def row(x, write):
        scale = ps.get_state("scale", [], init=jnp.ones)
        if write:
            ps.set_state("scale", 2 * scale)  # the same for all rows, and yet not wanted
        return x * scale

    def f(x, write):
        return ps.vmap(
            lambda x: row(x, write), split_rng=False, collections={"state": "broadcast"}
        )(x)

    def outer(x, write):
        ps.get_state("scale", [], init=jnp.ones)
        return f(x, write)

    g = ps.transform_with_state(outer)
    params, state = g.init(None, X, False)
    np.testing.assert_array_equal(g.apply(params, state, None, X, False)[0], X)
    with pytest.raises(
        ps.errors.CollectionModeError, match=r"'~/scale' \(collection 'state'\).*'broadcast'"
    ):
        g.apply(params, state, None, X, True)


def test_outputs_are_captured_in_loops_too():
    def f(x):
        a = ps.scan(lambda c, x: (c, ps.Linear(2, name="a")(x)), 0, x)[1]
        b = ps.vmap(ps.Linear(2, name="b"), split_rng=False)(x)
        return a, b, ps.remat(ps.Linear(2, name="c"))(x[0])

    g = ps.transform(f)
    x = X[0]
    params = g.init(jax.random.key(0), x)
    out, found = ps.capture_intermediates(g).apply(params, None, x)
    for name, value in zip("abc", out, strict=True):
        np.testing.assert_array_equal(found[name]["__call__"][0], value)
