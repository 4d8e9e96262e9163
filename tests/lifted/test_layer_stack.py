"""`layer_stack`: dm-haiku's bits; a loop with the same weights; keywords and Python values; errors."""

import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import assert_same, check, normal

KEY = jax.random.key(3)


def plain(lib, x, **options):
    def layer(x):
        return jnp.tanh(lib.Linear(3, b_init=lib.initializers.RandomNormal())(x))

    return lib.layer_stack(3, **options)(layer)(x)


def two_arguments(lib, x):
    def layer(x, scale):
        return lib.Linear(3)(x) * scale["a"], {"a": scale["a"] + 1}

    return lib.layer_stack(3)(layer)(x, {"a": jnp.ones([3])})


def with_rng(lib, x):
    def layer(x):
        return x + lib.dropout(lib.next_rng_key(), 0.5, lib.Linear(3)(x))

    return lib.layer_stack(3)(layer)(x), jax.random.normal(lib.next_rng_key(), [2])


def with_state(lib, x):
    return lib.layer_stack(3)(
        lambda x: lib.BatchNorm(True, True, 0.9)(lib.Linear(3)(x), is_training=True)
    )(x)


def per_layer(lib, x, reverse=False):
    def layer(x, shift, scale):
        x = lib.Linear(3)(x + shift) * scale
        return x, x.sum()

    return lib.layer_stack(3, with_per_layer_inputs=True)(layer)(
        x, jnp.arange(3.0), normal(3, 2, 1), reverse=reverse
    )


def told_reverse(lib, x):
    def layer(x, reverse=False):  # the default is what `init` sees
        return lib.Linear(3)(x) + (1.0 if reverse else 2.0)

    return lib.layer_stack(3, pass_reverse_to_layer_fn=True)(layer)(x, reverse=True)


def nested(lib, x):
    def outer(x):
        return lib.layer_stack(2, name="inner")(lambda x: lib.Linear(3)(x))(x) * 0.5

    return lib.layer_stack(3, name="outer")(outer)(x)


def in_a_module(lib, x):
    class Net(lib.Module):
        def __call__(self, x):
            return lib.layer_stack(2)(lambda x: lib.nets.MLP([4, 3])(x))(lib.Linear(3)(x))

    return Net()(x)


class Mapping:
    """Layers named `layer_0/...`, `layer_1/...`."""

    def stacked_to_flat(self, stacked_module_name, scan_idx):
        return stacked_module_name.replace("layer", f"layer_{scan_idx}", 1)

    def flat_to_stacked(self, unstacked_module_name):
        found = re.match(r"layer_(\d+)(.*)", unstacked_module_name)
        return (f"layer{found[2]}", int(found[1])) if found else None


def transparent(lib, x):
    def layer(x):
        class Layer(lib.Module):
            def __call__(self, x):
                return jnp.tanh(lib.Linear(3)(x))

        return Layer(name="layer")(x)

    x = lib.Linear(3, name="before")(x)
    return lib.layer_stack(3, transparent=True, transparency_map=Mapping())(layer)(x)


SAME_AS_HAIKU = {
    "plain": plain,
    "unrolled": lambda lib, x: plain(lib, x, unroll=3),
    "named": lambda lib, x: plain(lib, x, name="tower"),
    "reverse": lambda lib, x: lib.layer_stack(3)(lambda x: lib.Linear(3)(x))(x, reverse=True),
    "two_arguments": two_arguments,
    "with_rng": with_rng,
    "with_state": with_state,
    "per_layer": per_layer,
    "per_layer_reverse": lambda lib, x: per_layer(lib, x, reverse=True),
    "told_reverse": told_reverse,
    "nested": nested,
    "in_a_module": in_a_module,
    "transparent": transparent,
}


@pytest.mark.parametrize("name", SAME_AS_HAIKU)
def test_same_bits_as_haiku(name):
    check(SAME_AS_HAIKU[name], normal(2, 3))


def test_same_as_a_loop_with_the_slices():
    f = ps.transform(lambda x: plain(ps, x))
    x = normal(2, 3)
    params = f.init(KEY, x)
    (w, b) = (np.float64(params["__layer_stack_no_per_layer/linear"][name]) for name in "wb")
    assert len({layer.tobytes() for layer in w}) == 3, "each layer has its own first values"
    expected = np.float64(x)
    for i in range(3):
        expected = np.tanh(expected @ w[i] + b[i])
    np.testing.assert_allclose(f.apply(params, None, x), expected, rtol=1e-5)


def test_reverse_runs_the_last_layer_first():
    order = ps.transform(
        lambda: ps.layer_stack(3, with_per_layer_inputs=True)(lambda x, i: (x * 10 + i, x))(
            0, jnp.arange(1, 4), reverse=True
        )
    ).apply({}, None)
    assert int(order[0]) == 321
    assert order[1].tolist() == [32, 3, 0], "stacked by layer, not by time"


def test_state_is_kept_by_layer():
    def f(x):
        def layer(x):
            n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
            ps.set_state("n", n + 1)
            ps.set_state("seen", x)
            return x * 2

        return ps.layer_stack(4, name="tower")(layer)(x)

    g = ps.transform_with_state(f)
    _, state = g.init(None, 1.0)
    assert state["tower/~"]["n"].tolist() == [1] * 4, (
        "as in dm-haiku: that after the call in `init`"
    )
    for n in (2, 3):
        out, state = g.apply({}, state, None, 1.0)
        assert state["tower/~"]["n"].tolist() == [n] * 4
    assert state["tower/~"]["seen"].tolist() == [1, 2, 4, 8]
    assert float(out) == 16


@pytest.mark.parametrize("lib", [ps, hk], ids=["purestate", "dm-haiku"])
def test_two_stacks_have_state_of_their_own(lib):
    def f(x):
        def layer(x):
            lib.set_state("seen", x)
            return x + 1

        return lib.layer_stack(2)(layer)(x), lib.layer_stack(2)(layer)(x * 100)

    g = lib.transform_with_state(f)
    _, state = g.init(None, 0.0)
    _, state = g.apply({}, state, None, 1.0)
    seen = [state[f"__layer_stack_no_per_layer{i}/~"]["seen"].tolist() for i in ("", "_1")]
    if lib is ps:
        assert seen == [[1, 2], [100, 101]]
    else:  # writes that of the second over that of the first; done otherwise on purpose
        assert seen == [[100, 101], [0, 1]]


def test_each_layer_has_keys_of_its_own_and_the_calls_after_it_others():
    def f():
        draw = lambda x: (x, jax.random.uniform(ps.next_rng_key()))
        _, first = ps.layer_stack(5, with_per_layer_inputs=True)(draw)(0.0)
        _, second = ps.layer_stack(5, with_per_layer_inputs=True)(draw)(0.0)
        return jnp.concatenate([first, second, jax.random.uniform(ps.next_rng_key(), [1])])

    values = ps.transform(f).apply({}, KEY)
    assert len(set(values.tolist())) == 11


def test_without_a_key():
    f = ps.transform(
        lambda x: ps.layer_stack(3)(lambda x: x + ps.get_parameter("b", [3], init=jnp.ones))(x)
    )
    params = f.init(None, jnp.zeros([3]))
    np.testing.assert_array_equal(f.apply(params, None, jnp.zeros([3])), [3.0, 3, 3])


# What dm-haiku cannot: keywords, and arguments that are no arrays.


def test_keywords_are_the_same_for_all_layers():
    def layer(x, *, mask, is_training, activation=jnp.tanh):
        x = activation(ps.Linear(3)(x)) * mask
        return ps.dropout(ps.next_rng_key(), 0.5, x) if is_training else x

    def stacked(x, mask, is_training):
        return ps.layer_stack(3, name="tower")(layer)(
            x, mask=mask, is_training=is_training, activation=jax.nn.relu
        )

    def by_closure(x, mask, is_training):
        close = lambda x: layer(x, mask=mask, is_training=is_training, activation=jax.nn.relu)
        return ps.layer_stack(3, name="tower")(close)(x)

    x, mask = abs(normal(2, 3)), jnp.array([1.0, 0.0, 1.0])
    f, g = ps.transform(stacked), ps.transform(by_closure)
    params = jax.tree.map(
        lambda s: abs(normal(*s.shape)), jax.eval_shape(lambda x: f.init(KEY, x, mask, True), x)
    )
    for training in (True, False):
        ours, expected = (
            str(
                jax.make_jaxpr(lambda *args, h=h, t=training: h.apply(*args, mask, t))(
                    params, KEY, x
                )
            )
            for h in (f, g)
        )
        assert ours == expected
    # Traced keywords can be differentiated by.
    by_mask = jax.jit(jax.grad(lambda mask: f.apply(params, KEY, x, mask, False).sum()))(mask)
    assert float(abs(by_mask).sum()) > 0
    with pytest.raises(TypeError):
        hk.transform(lambda x: hk.layer_stack(3)(layer)(x, mask=mask, is_training=False)).init(
            KEY, x
        )


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_arguments_that_are_no_arrays_stay_what_they_are(wrap):
    seen = []

    def layer(x, is_training, style, mask):
        seen.append((is_training, style, mask))
        return (ps.Linear(3)(x) if is_training is True else -x), is_training, style, mask

    f = ps.transform(lambda x: ps.layer_stack(3)(layer)(x, True, "pre", None))
    x = normal(2, 3)
    params = wrap(f.init)(KEY, x)
    apply = lambda params, x: f.apply(params, None, x)[0]
    out = wrap(apply)(params, x)
    assert set(seen) == {(True, "pre", None)}
    assert f.apply(params, None, x)[1:] == (True, "pre", None)
    g = ps.transform(lambda x: ps.layer_stack(3)(lambda x: ps.Linear(3)(x))(x))
    assert_same(out, wrap(g.apply)(params, None, x))


def test_a_bool_array_is_an_array():
    def layer(x, mask):
        return jnp.where(mask, ps.Linear(3)(x), x), mask

    f = ps.transform(lambda x, mask: ps.layer_stack(2)(layer)(x, mask)[0])
    x, mask = normal(2, 3), jnp.array([True, False, True])
    out = f.apply(f.init(KEY, x, mask), None, x, mask)
    np.testing.assert_array_equal(out[:, 1], x[:, 1])
    assert not np.array_equal(out[:, 0], x[:, 0])


def test_static_keyword_beside_per_layer_inputs():
    def layer(x, scale, *, negate):
        return x * scale * (-1 if negate else 1), None

    run = lambda: ps.layer_stack(3, with_per_layer_inputs=True)(layer)(
        1.0, jnp.arange(1.0, 4), negate=True
    )
    assert float(ps.transform(run).apply({}, None)[0]) == -6


def test_transparent_is_a_loop():
    """The parameters of a loop over named layers, and its results; state too."""

    class Layer(ps.Module):
        def __call__(self, x):
            ps.set_state("seen", x.sum())
            return jnp.tanh(ps.Linear(3)(x))

    def loop(x):
        for i in range(3):
            x = Layer(name=f"layer_{i}")(x)
        return x

    def stacked(x):
        layer = lambda x: Layer(name="layer")(x)
        return ps.layer_stack(3, transparent=True, transparency_map=Mapping())(layer)(x)

    f, g = ps.transform_with_state(stacked), ps.transform_with_state(loop)
    x = normal(2, 3)
    params, state = f.init(KEY, x)
    assert sorted(params) == [f"layer_{i}/linear" for i in range(3)]
    assert sorted(state) == [f"layer_{i}" for i in range(3)]
    assert jax.tree.map(jnp.shape, (params, state)) == jax.tree.map(jnp.shape, g.init(KEY, x))
    (out, new_state), (expected, expected_state) = (
        f.apply(params, state, None, x),
        g.apply(params, state, None, x),
    )
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    for name, values in expected_state.items():
        np.testing.assert_allclose(new_state[name]["seen"], values["seen"], rtol=1e-5)


def test_one_layer_is_traced_however_many_there_are():
    def traces(count):
        calls = []

        def layer(x):
            calls.append(x)
            return ps.Linear(3)(x)

        f = ps.transform(lambda x: ps.layer_stack(count)(layer)(x))
        params = jax.eval_shape(f.init, KEY, normal(2, 3))
        calls.clear()
        jaxpr = jax.make_jaxpr(f.apply)(params, None, normal(2, 3))
        return len(calls), len(jaxpr.jaxpr.eqns)

    assert traces(2) == traces(50)


def run(f, *args):
    return ps.transform(lambda: f(*args)).init(KEY)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ps.layer_stack(3, transparent=True), "transparency_map"),
        (lambda: ps.layer_stack(3)(lambda *xs: xs), r"f\(\*args\)"),
        (
            lambda: ps.layer_stack(3, with_per_layer_inputs=True)(lambda x, y: (x, y))(
                0, jnp.ones([4, 2])
            ),
            r"3 layers.*\[3, \.\.\.\].*\(4, 2\)",
        ),
        (
            lambda: ps.layer_stack(3, with_per_layer_inputs=True)(lambda x, y: (x, y))(0, 1.0),
            r"has shape \(\)",
        ),
    ],
)
def test_errors(call, words):
    with pytest.raises(ps.errors.LoopError, match=words):
        run(call)
    with pytest.raises(ValueError):  # what dm-haiku raises
        run(call)


def test_maps_that_lose_layers():
    class Same(Mapping):
        def stacked_to_flat(self, stacked_module_name, scan_idx):
            return "layer_0"

    class Crowded(Mapping):
        def flat_to_stacked(self, unstacked_module_name):
            return "layer", 0

    layer = lambda x: ps.Linear(3, name="layer")(x)
    x = normal(2, 3)
    for mapping, words in (
        (Same(), "two layers the name 'layer_0'"),
        (Crowded(), "two modules for layer 0"),
    ):
        f = ps.transform(
            lambda x, m=mapping: ps.layer_stack(2, transparent=True, transparency_map=m)(layer)(x)
        )
        with pytest.raises(ps.errors.LoopError, match=words):
            f.init(KEY, x)


def test_outside_a_transform():
    with pytest.raises(ps.errors.FrameError, match=r"ps\.layer_stack"):
        ps.layer_stack(2)(lambda x: x)(jnp.ones([2]))
