"""`MixtureOfExperts` against loops over tokens and experts in float64."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import purestate as ps

KEY = jax.random.key(0)
X = np.random.RandomState(0).standard_normal([3, 10, 4])
MASK = np.arange(10) < np.array([[10], [7], [0]])
NUMPY = {jax.nn.silu: lambda x: x * special.expit(x), jax.nn.relu: lambda x: np.maximum(x, 0)}
CASES = {
    "default": {"num_experts": 5},
    "switch": {"num_experts": 4, "top_k": 1, "gated": False, "activation": jax.nn.relu},
    "dropping": {"num_experts": 4, "top_k": 3, "capacity_factor": 0.5, "with_bias": True},
    "one place": {"num_experts": 6, "top_k": 1, "capacity_factor": 0.1, "normalize_gates": True},
    "all kept": {"num_experts": 5, "capacity_factor": None, "output_size": 3},
    "all experts": {"num_experts": 3, "top_k": 3, "normalize_gates": False, "gated": False},
    "biases": {"num_experts": 5, "with_bias": True, "gated": False, "output_size": 7},
}


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def expert_by_hand(layer, params, e, x):
    def linear(name, x):
        p = params[f"mixture_of_experts/{name}"]
        return x @ p["w"][e] + (p["b"][e] if layer.with_bias else 0)

    activation = NUMPY[layer.activation]
    if not layer.gated:
        return linear("down", activation(linear("up", x)))
    return linear("down", activation(linear("gate", x)) * linear("up", x))


def by_loops(layer, params, x, mask):
    """The papers, token by token: outputs, which choices are kept, and the two losses of each sequence."""
    size, k = layer.num_experts, layer.top_k
    out = np.zeros([*x.shape[:-1], params["mixture_of_experts/down"]["w"].shape[-1]])
    kept = np.zeros([*x.shape[:-1], k], bool)
    balance, z = [], []
    for g, tokens in enumerate(x):
        logits = tokens @ params["mixture_of_experts/router"]["w"]
        probabilities = np.array([softmax(row) for row in logits])
        best = np.argsort(-probabilities, -1, kind="stable")[:, :k]
        places = len(tokens)
        if layer.capacity_factor is not None:
            places = max(1, int(np.ceil(layer.capacity_factor * len(tokens) * k / size)))
        taken, load = np.zeros(size, int), np.zeros(size)
        for choice in range(k):  # all first choices, then all second ones
            for t in range(len(tokens)):
                e = best[t, choice]
                if not mask[g, t]:
                    continue
                load[e] += 1
                if taken[e] == places:
                    continue
                taken[e] += 1
                gate = probabilities[t, e]
                if layer.normalize_gates:
                    gate = gate / probabilities[t, best[t]].sum()
                kept[g, t, choice] = True
                out[g, t] += gate * expert_by_hand(layer, params, e, tokens[t])
        real = mask[g]
        if not real.any():
            balance.append(0.0)
            z.append(0.0)
            continue
        balance.append(size * (load / load.sum() * probabilities[real].mean(0)).sum())
        z.append((special.logsumexp(logits[real], -1) ** 2).mean())
    return out, kept, np.mean(balance), np.mean(z)


def made(options, dtype):
    """The layer, the pair, and random parameters."""
    layers = []

    def f(x, mask=None):
        layers.append(ps.MixtureOfExperts(hidden_size=6, **options))
        return layers[-1].with_routing(x, mask)

    pair = ps.transform(f)
    shapes = jax.eval_shape(pair.init, KEY, X.astype(dtype))
    draw = np.random.RandomState(1)
    params = jax.tree.map(lambda leaf: draw.standard_normal(leaf.shape), shapes)
    return layers[0], pair, params


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "mask"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_against_float64(options, mask):
    everything = np.ones(X.shape[:-1], bool)
    with jax.enable_x64(True):
        layer, pair, params = made(options, np.float64)
        out, routing = jax.jit(pair.apply)(params, None, X, mask)
        assert {leaf.dtype for leaf in jax.tree.leaves((out, routing.gates))} == {np.dtype("f8")}
    expected, kept, balance, z = by_loops(layer, params, X, everything if mask is None else mask)
    np.testing.assert_array_equal(routing.kept, kept)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(routing.load_balancing_loss, balance, rtol=1e-9)
    np.testing.assert_allclose(routing.router_z_loss, z, rtol=1e-9)
    assert kept.all() == (options.get("capacity_factor", 1) is None and mask is None) or (
        options["num_experts"] == options.get("top_k", 2)
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_float32_and_bfloat16(options):
    layer, pair, params = made(options, np.float32)
    rounded = jax.tree.map(lambda p: np.asarray(p, np.float32), params)
    apply = jax.jit(pair.apply)
    out, routing = apply(rounded, None, X.astype(np.float32))
    expected, kept, *_ = by_loops(layer, params, X, np.ones(X.shape[:-1], bool))
    np.testing.assert_array_equal(routing.kept, kept)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)
    narrow = jnp.asarray(X, jnp.bfloat16)
    params = jax.jit(pair.init)(KEY, narrow)
    dtypes = {path: str(leaf["w"].dtype) for path, leaf in params.items()}
    assert dtypes.pop("mixture_of_experts/router") == "float32"
    assert set(dtypes.values()) == {"bfloat16"}
    out, routing = apply(params, None, narrow)
    assert (out.dtype, routing.gates.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_derivatives_by_differences(options):
    """Of outputs and losses, along a random direction of all parameters and inputs, from the loops."""
    layer, pair, params = made(options, np.float64)
    draw = np.random.RandomState(2)
    weight = draw.standard_normal([*X.shape[:-1], options.get("output_size", 4)])
    point = (params, X)
    along = jax.tree.map(lambda v: draw.standard_normal(v.shape), point)

    def total(out, balance, z):
        return (out * weight).sum() + 3 * balance + 2 * z

    def at(step):
        moved = jax.tree.map(lambda v, d: v + step * d, point, along)
        out, _, balance, z = by_loops(layer, *moved, MASK)
        return total(out, balance, z)

    def loss(params, x):
        out, routing = pair.apply(params, None, x, MASK)
        return total(out, routing.load_balancing_loss, routing.router_z_loss)

    expected = (at(1e-6) - at(-1e-6)) / 2e-6
    with jax.enable_x64(True):
        grads = jax.jit(jax.grad(loss, (0, 1)))(*point)
    products = jax.tree.map(lambda g, d: (np.asarray(g) * d).sum(), grads, along)
    found = sum(jax.tree.leaves(products))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if not layer.normalize_gates:
        assert np.abs(grads[0]["mixture_of_experts/router"]["w"]).max() > 1e-3


def routed(logits, mask=None, **options):
    """The routing of tokens whose logits are given."""
    logits = jnp.asarray(logits, jnp.float32)
    size = logits.shape[-1]
    f = ps.transform(
        lambda x: ps.MixtureOfExperts(
            size, 3, router_init=ps.initializers.Identity(), w_init=jnp.zeros, **options
        ).with_routing(x, mask)[1]
    )
    params = jax.jit(f.init)(None, logits)
    return jax.jit(f.apply)(params, None, logits)


def test_places_are_given_in_order():
    one = [[9, 0, 0, 0]] * 8
    kept = routed(one, top_k=1, capacity_factor=1.5).kept  # ceil(1.5 * 8 / 4) places
    assert kept[:, 0].tolist() == [True] * 3 + [False] * 5
    # A first choice of the last token comes before the second choices of all others.
    first = [[9, 5, 0, 0]] * 3 + [[0, 9, 5, 0]]
    kept = routed(first, top_k=2, capacity_factor=1.0).kept  # 2 places
    assert kept.tolist() == [[True, True], [True, False], [False, False], [True, True]]
    # Padding takes no place.
    kept = routed(one, np.arange(8) >= 4, top_k=1, capacity_factor=1.5).kept
    assert kept[:, 0].tolist() == [False] * 4 + [True] * 3 + [False]


def test_the_losses_at_their_bounds():
    even = np.eye(4) * 20
    np.testing.assert_allclose(routed(even, top_k=1).load_balancing_loss, 1, rtol=1e-5)
    one = [[20, 0, 0, 0]] * 4
    np.testing.assert_allclose(routed(one, top_k=1).load_balancing_loss, 4, rtol=1e-5)
    np.testing.assert_allclose(routed(one, top_k=4).load_balancing_loss, 1, rtol=1e-5)
    np.testing.assert_allclose(routed(np.zeros([4, 4])).router_z_loss, np.log(4) ** 2, rtol=1e-5)


def test_one_expert_is_a_gated_mlp():
    x = jnp.asarray(X, jnp.float32)
    f = ps.transform(lambda x: ps.MixtureOfExperts(1, 6, top_k=1, with_bias=True)(x))
    g = ps.transform(lambda x: ps.GatedMLP(6, with_bias=True, b_init=jnp.ones)(x))
    params = g.init(KEY, x)
    of_one = {
        path.replace("gated_mlp", "mixture_of_experts"): jax.tree.map(lambda p: p[None], value)
        for path, value in params.items()
    }
    of_one["mixture_of_experts/router"] = {"w": jnp.ones([4, 1])}
    np.testing.assert_allclose(
        f.apply(of_one, None, x), g.apply(params, None, x), rtol=1e-5, atol=1e-6
    )


def test_sequences_do_not_compete():
    x = jnp.asarray(X, jnp.float32)
    f = ps.transform(lambda x: ps.MixtureOfExperts(4, 6, capacity_factor=0.5).with_routing(x))
    params = f.init(KEY, x)
    out, routing = f.apply(params, None, x)
    by_vmap, routings = jax.vmap(lambda x: f.apply(params, None, x))(x)
    np.testing.assert_allclose(by_vmap, out, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(routings.kept, routing.kept)
    for loss in ("load_balancing_loss", "router_z_loss"):
        np.testing.assert_allclose(
            getattr(routings, loss).mean(), getattr(routing, loss), rtol=1e-5
        )
    nested, _ = f.apply(params, None, x[:, None])  # more leading axes
    np.testing.assert_allclose(nested[:, 0], out, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options, is_causal",
    [
        ({"top_k": 1, "capacity_factor": 0.5}, True),
        ({"top_k": 2, "capacity_factor": None}, True),
        ({"top_k": 2, "capacity_factor": 0.5}, False),
    ],
    ids=["one choice", "all kept", "second choices"],
)
def test_later_tokens_change_earlier_ones_only_by_second_choices(options, is_causal):
    x = jax.random.normal(jax.random.key(3), [40, 12, 4])
    f = ps.transform(lambda x: ps.MixtureOfExperts(3, 6, **options)(x))
    apply = jax.jit(f.apply)
    params = jax.jit(f.init)(KEY, x)
    before, after = (apply(params, None, value)[:, :6] for value in (x, x.at[:, 6:].multiply(-1)))
    assert bool(jnp.allclose(before, after, atol=1e-6)) == is_causal


def test_one_token_at_a_time_keeps_all():
    x = jnp.asarray(X, jnp.float32)
    make = lambda factor: ps.transform(
        lambda x: ps.MixtureOfExperts(4, 6, capacity_factor=factor)(x)
    )
    params = make(1.0).init(KEY, x)
    step = jax.jit(make(1.0).apply)
    steps = [step(params, None, x[:, t : t + 1]) for t in range(x.shape[1])]
    together = make(None).apply(params, None, x)
    np.testing.assert_allclose(jnp.concatenate(steps, 1), together, rtol=1e-5, atol=1e-6)


# --- what is around it ---


@pytest.mark.slow
def test_initial_values_are_those_of_single_experts():
    x = jnp.ones([8, 32])
    f = ps.transform(lambda x: ps.MixtureOfExperts(16, 64)(x))
    g = ps.transform(
        lambda x: ps.MixtureOfExperts(16, 64, w_init=ps.initializers.VarianceScaling(2.0))(x)
    )
    params, he = f.init(KEY, x), g.init(KEY, x)
    for name, fan_in in (("gate", 32), ("up", 32), ("down", 64)):
        w = params[f"mixture_of_experts/{name}"]["w"]
        np.testing.assert_allclose(w.std(), 0.88 / fan_in**0.5, rtol=0.05)
        w = he[f"mixture_of_experts/{name}"]["w"]
        np.testing.assert_allclose(w.std(), (2 / fan_in) ** 0.5, rtol=0.05)
        assert len(np.unique(np.asarray(w[:, 0, 0]))) == 16


def test_the_axis_of_experts_has_a_name():
    f = ps.transform(lambda x: ps.MixtureOfExperts(4, 6, with_bias=True)(x))
    found = ps.specs(f)(KEY, X.astype(np.float32))
    for name in ("gate", "up", "down"):
        assert found[f"mixture_of_experts/{name}"]["w"].axes == ("expert", None, None)
        assert found[f"mixture_of_experts/{name}"]["b"].axes == ("expert", None)


def losses(f, variables, *args):
    return f.apply(variables, None, *args, mutable=["losses"])[1]["losses"]


def test_losses_are_sown():
    x = jnp.asarray(X, jnp.float32)

    def twice(x, mask):
        layer = ps.MixtureOfExperts(4, 6, name="moe")
        return layer(layer(x, mask), mask)

    f = ps.transform_with_collections(twice)
    g = ps.transform(lambda x, mask: ps.MixtureOfExperts(4, 6, name="moe").with_routing(x, mask))
    variables = f.init(KEY, x, MASK)
    assert list(variables) == ["params"]
    h, first = g.apply(variables["params"], None, x, MASK)
    out, second = g.apply(variables["params"], None, h, MASK)
    np.testing.assert_array_equal(f.apply(variables, None, x, MASK), out)
    found = losses(f, variables, x, MASK)["moe"]
    for name in ("load_balancing_loss", "router_z_loss"):
        expected = getattr(first, name) + getattr(second, name)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_losses_of_stacked_layers():
    x = jnp.asarray(X, jnp.float32)

    def block(x):
        return x + ps.MixtureOfExperts(4, 6, name="moe")(x)

    stacked = ps.transform_with_collections(lambda x: ps.layer_stack(3)(block)(x))
    variables = stacked.init(KEY, x)
    one = ps.transform_with_collections(block)
    h, by_hand = x, []
    for i in range(3):
        params = {
            f"moe/{path.rpartition('/')[2]}": jax.tree.map(lambda p, i=i: p[i], value)
            for path, value in variables["params"].items()
        }
        by_hand.append(losses(one, {"params": params}, h)["moe"])
        h = one.apply({"params": params}, None, h)
    np.testing.assert_allclose(stacked.apply(variables, None, x), h, rtol=1e-4, atol=1e-5)
    found = losses(stacked, variables, x)
    (of_stack,) = found.values()
    for name, values in of_stack.items():
        np.testing.assert_allclose(values, [each[name] for each in by_hand], rtol=1e-4)


ON_FOUR_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, purestate as ps
x = jax.random.normal(jax.random.key(1), [2, 8, 4])
f = ps.transform(lambda x: ps.MixtureOfExperts(8, 6)(x))
params = f.init(jax.random.key(0), x)
mesh = jax.make_mesh((4,), ("expert",), axis_types=(jax.sharding.AxisType.Auto,))
shardings = jax.tree.map(
    lambda spec: jax.NamedSharding(mesh, jax.P(*(spec.axes or ()))),
    ps.specs(f)(jax.random.key(0), x),
    is_leaf=lambda leaf: isinstance(leaf, ps.Spec),
)
placed = jax.device_put(params, shardings)
assert placed["mixture_of_experts/gate"]["w"].addressable_shards[0].data.shape == (2, 4, 6)
grad = jax.jit(jax.grad(lambda params: (f.apply(params, None, x) ** 2).sum()))
for found, expected in zip(*map(jax.tree.leaves, (grad(placed), grad(params)))):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
print("all is well")
"""


@pytest.mark.slow  # another process, with JAX
def test_experts_on_four_devices():
    ran = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        env={
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "JAX_PLATFORMS": "cpu",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip().endswith("all is well"), ran.stderr[-3000:]


@pytest.mark.parametrize(
    "make, args, message",
    [
        (lambda: ps.MixtureOfExperts(4, 6, top_k=5), (X,), "from 1 to 4; got 5"),
        (lambda: ps.MixtureOfExperts(4, 6, top_k=0), (X,), "got 0"),
        (lambda: ps.MixtureOfExperts(4, 6, capacity_factor=0.0), (X,), "must be positive"),
        (lambda: ps.MixtureOfExperts(4, 6), (X[0, 0],), r"needs tokens \[..., T, D\]"),
        (lambda: ps.MixtureOfExperts(4, 6), (X.astype(int),), "needs floats, got int32"),
        (lambda: ps.MixtureOfExperts(4, 6), (X, MASK[0]), r"needs a mask of shape \(3, 10\)"),
        (lambda: ps.MixtureOfExperts(4, 6), ([1.0],), "needs an array"),
    ],
    ids=["too many", "none", "capacity", "rank", "integers", "mask", "list"],
)
def test_errors(make, args, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.transform(lambda: make()(*args)).init(KEY)
