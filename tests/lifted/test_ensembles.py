"""Variables that each element has for itself: initial values differ, and those that are shared do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import purestate as ps

N = 3
X = jnp.linspace(-1.0, 1.0, 12).reshape(N, 4)
NORMAL = ps.initializers.RandomNormal()


class Layer(ps.Module):
    """Has a parameter, and state of a collection that all share or each has."""

    def __call__(self, x):
        w = ps.get_parameter("w", [4], init=NORMAL)
        noise = ps.get_state("noise", [4], init=NORMAL, collection="noise")
        count = ps.get_state("count", [], jnp.int32, init=jnp.zeros)
        ps.set_state("count", count + 1)
        return x * w + noise


def mapped(transform, modes, split):
    body = lambda x: Layer()(x)
    if transform == "vmap":
        return lambda x: ps.vmap(body, split_rng=split(), collections=modes)(x)
    if transform == "vmap_named":
        return lambda x: ps.vmap(body, axis_name="n", split_rng=split(), collections=modes)(x)
    if transform == "nested_vmap":
        inner = lambda x: ps.vmap(body, split_rng=split(), collections=modes)(x)
        return lambda x: ps.vmap(inner, split_rng=split(), collections=modes)(
            jnp.broadcast_to(x, (2, *x.shape))
        )
    if transform == "scan":
        return lambda x: ps.scan(lambda c, x: (c, body(x)), 0, x, collections=modes)[1]
    if transform == "scan_reverse":
        return lambda x: ps.scan(lambda c, x: (c, body(x)), 0, x, reverse=True, collections=modes)[
            1
        ]
    if transform == "remat_in_vmap":
        again = lambda x: ps.remat(body)(x)
        return lambda x: ps.vmap(again, split_rng=split(), collections=modes)(x)
    raise ValueError(transform)


TRANSFORMS = ["vmap", "vmap_named", "nested_vmap", "scan", "scan_reverse", "remat_in_vmap"]
SPLITS = {
    "idiom": lambda: not ps.running_init(),
    "shared": lambda: False,
}


def distinct(values):
    return len({tuple(row) for row in np.asarray(values).reshape(-1, 4).tolist()})


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("style", ["state", "collections"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_initial_values(transform, split, mode, jit, style):
    make = ps.transform_with_state if style == "state" else ps.transform_with_collections
    elements = 2 * N if transform == "nested_vmap" else N

    def initial(modes):
        f = make(mapped(transform, modes, SPLITS[split]), rng_mode=mode)
        found = (jax.jit(f.init) if jit else f.init)(jax.random.key(0), X)
        params, state = (found["params"], found["noise"]) if style == "collections" else found
        return params["layer"]["w"], state["layer"]["noise"]

    w, noise = initial({"params": 0})
    assert (distinct(w), distinct(noise)) == (elements, 1)
    w, noise = initial({"noise": 0})
    assert (distinct(w), distinct(noise)) == (1, elements)
    w, noise = initial({"params": 0, "noise": 0})
    assert (distinct(w), distinct(noise)) == (elements, elements)
    w, noise = initial(None)
    assert (distinct(w), distinct(noise)) == (1, 1)


@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("axes", [AxisType.Auto, AxisType.Explicit])
def test_apply_of_an_ensemble_is_that_of_its_members(mode, axes):
    one = ps.transform_with_state(lambda x: Layer()(x))
    mesh = jax.make_mesh((1,), ("n",), axis_types=(axes,))
    every = {"params": 0, "noise": 0, "state": "max"}
    programs = {
        "vmap": mapped("vmap", every, SPLITS["shared"]),
        "scan": mapped("scan", {**every, "state": "carry"}, SPLITS["shared"]),
        "shard_map": lambda x: ps.shard_map(
            lambda x: ps.vmap(Layer(), split_rng=False, collections=every)(x),
            mesh=mesh, in_specs=P("n"), out_specs=P("n"), collections=every,
        )(x),
    }  # fmt: skip
    for name, program in programs.items():
        f = ps.transform_with_state(program, rng_mode=mode)
        x = X
        if name == "shard_map":  # on an explicit mesh arrays have to say how they are sharded
            x = jax.device_put(X, jax.sharding.NamedSharding(mesh, P("n")))
        params, state = f.init(jax.random.key(0), x)
        out, after = f.apply(params, state, None, x)
        ws, noises = (
            jnp.reshape(tree["layer"][key], (N, 4))
            for tree, key in ((params, "w"), (state, "noise"))
        )
        for i in range(N):
            member = {"layer": {"w": ws[i]}}
            own = {"layer": {"noise": noises[i], "count": jnp.int32(0)}}
            expected, _ = one.apply(member, own, None, X[i])
            np.testing.assert_allclose(out[i], expected, rtol=1e-6, err_msg=name)
        assert int(jnp.max(after["layer"]["count"])) == (N if name == "scan" else 1)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_apply_without_a_key_that_nothing_draws(transform):
    f = ps.transform_with_state(mapped(transform, {"params": 0}, SPLITS["idiom"]))
    variables = f.init(jax.random.key(0), X)
    f.apply(*variables, None, X)
    noisy = lambda x: x * jax.random.normal(ps.next_rng_key())
    g = ps.transform(lambda x: ps.vmap(noisy, split_rng=True)(x))
    with pytest.raises(ps.errors.MissingRNGError, match="no key"):
        g.apply({}, None, X)


@pytest.mark.parametrize("transform", ["vmap", "scan", "scan_reverse", "vmap_named"])
@pytest.mark.parametrize("mode", ["mean", "sum", "max", "min", "first"])
def test_combined_state_is_combined(transform, mode):
    """Against the same arithmetic in numpy."""

    def body(x):
        ps.get_state("m", [4], init=jnp.zeros)
        ps.set_state("m", x)
        return x

    modes = {"state": mode}
    if transform.startswith("vmap"):
        g = lambda x: ps.vmap(body, split_rng=False, collections=modes)(x)
    else:
        reverse = transform == "scan_reverse"
        g = lambda x: ps.scan(lambda c, x: (c, body(x)), 0, x, reverse=reverse, collections=modes)[
            1
        ]
    f = ps.transform_with_state(g)
    _, state = f.init(None, X)
    _, state = f.apply({}, state, None, X)
    x = np.asarray(X)
    expected = {"mean": x.mean(0), "sum": x.sum(0), "max": x.max(0), "min": x.min(0), "first": x[0]}
    np.testing.assert_allclose(state["~"]["m"], expected[mode], rtol=1e-6)


@pytest.mark.parametrize("transform", ["vmap", "scan"])
def test_an_axis_that_a_variable_does_not_have(transform):
    body = lambda x: ps.Linear(2)(x)
    modes = {"params": 2}
    g = {
        "vmap": lambda x: ps.vmap(body, split_rng=False, collections=modes)(x),
        "scan": lambda x: ps.scan(lambda c, x: (c, body(x)), 0, x, collections=modes)[1],
    }[transform]
    params = {"linear": {"w": jnp.ones([4, 2, N]), "b": jnp.ones([2, N])}}
    with pytest.raises(ps.errors.VariableError, match=r"'linear/b'.*'params'.*axis 2"):
        ps.transform(g).apply(params, None, X)
